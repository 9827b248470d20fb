"""VGG with batch-norm for small images, as the pruning literature uses it on CIFAR-10."""

from torch import Tensor, nn

from psap.models.init import initialise

# Configurations A and D of Simonyan and Zisserman, arXiv:1409.1556, table 1; 0 is a max-pooling.
_A = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
_D = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
# The layers and the share of their channels. The narrow one is what a processor trains in minutes.
LAYERS = {"vgg16_bn": _D, "vgg11_bn_quarter": tuple(width // 4 for width in _A)}


class VGG(nn.Module):
    """3 x 3 convolutions (with bias, then batch-norm and ReLU), five poolings, one linear layer.

    Li et al. (arXiv:1608.08710) and most later work replace the three large linear layers by one or two small ones;
    here it is one. Input (N, in_channels, H, W) of any size, output (N, classes).
    """

    def __init__(self, name: str, classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for width in LAYERS[name]:
            if width:
                conv = nn.Conv2d(channels, width, 3, padding=1)
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            else:
                # Rounding up changes nothing at 32 x 32 and lets maps of smaller images end at 1 x 1, not at 0.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.pool(self.features(x)).flatten(1))
        return out
