"""What brings a network's accuracy back beside its labels: its dense self as a teacher, and the mean of its weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from psap.training.schema import TrainConfig


class Objective:
    """What a training minimises: cross-entropy with the labels and, where there is a teacher, closeness to its scores.

    `teacher` is the dense network from which the training starts. It is looked at in eval mode and is never trained.
    """

    def __init__(self, training: TrainConfig, teacher: nn.Module | None) -> None:
        self._smoothing, self._distill = training.label_smoothing, training.recipe.distill
        assert (teacher is None) == (self._distill is None)
        self._teacher = teacher.eval().requires_grad_(False) if teacher else None

    def __call__(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of scores (B, K) on images (B, C, H, W) with labels (B,)."""
        loss = F.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        if self._teacher is None or self._distill is None:
            return loss
        with torch.no_grad():
            wanted = self._teacher(images)
        return torch.lerp(loss, distillation(logits, wanted, self._distill.temperature), self._distill.weight)


def distillation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """How far the scores (B, K) of a network are from those of its teacher: the divergence of both at `temperature`.

    Times its square, by which the gradients' size does not depend on it (Hinton, Vinyals and Dean, arXiv:1503.02531,
    section 2.1).
    """
    own, teachers = (F.log_softmax(scores / temperature, dim=1) for scores in (logits, wanted))
    return temperature**2 * F.kl_div(own, teachers, reduction="batchmean", log_target=True)


def averaged(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """What follows the weights and running statistics of `model`, as exponential means; None without a `decay`."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
