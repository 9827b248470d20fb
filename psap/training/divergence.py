"""When a training is lost: what is left of its loss, its network or its score are no numbers."""

import math

import torch
from torch import nn

from psap.errors import PsapError
from psap.training.evaluation import Score

# A mean training loss so many times that of guessing comes from weights that no training brings back.
_HOPELESS = 1000


class Diverged(PsapError):
    """A training that diverged: `what` was found after `epoch` epochs. Only a suite's run can be recorded as such."""

    def __init__(self, epoch: int, what: str, lr: float) -> None:
        super().__init__(f"{what} in epoch {epoch}; a lower training lr than {lr:g} may help")
        self.epoch, self.what = epoch, what


def wrong_loss(loss: float, classes: int) -> str:
    """What is wrong with the mean training loss of an epoch; "" where nothing is."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    worst = _HOPELESS * math.log(max(classes, 2))
    return f"the loss is {loss:.3g}, over {_HOPELESS} times that of guessing" if loss > worst else ""


def wrong_network(model: nn.Module) -> str:
    """The first weight or buffer without a finite norm; "" where all have one."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    if torch.nn.utils.get_total_norm(tensors.values()).isfinite():  # waits for the device once
        return ""
    norms = {name: float(torch.linalg.vector_norm(tensor)) for name, tensor in tensors.items()}
    # All may be finite and their sum not: then it is the largest.
    name = next((name for name, norm in norms.items() if not math.isfinite(norm)), max(norms, key=norms.__getitem__))
    return f"the norm of {name} is {norms[name]:.3g}"


def wrong_score(score: Score) -> str:
    """What is wrong with a score; "" where nothing is. A finite loss may be large: running statistics lag behind."""
    return "" if math.isfinite(score.loss) else f"the loss on held-out images is {score.loss}"
