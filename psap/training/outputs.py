"""What a training says while it goes on, and what it leaves behind."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psap.models import saved
from psap.pruning.history import COLUMNS as HISTORY_COLUMNS
from psap.training.loop import Progress
from psap.training.trainer import Trainer, TrainResult
from psap.utils.files import write_csv

_EPOCH_COLUMNS = ("epoch", "lr", "train_loss", "loss", "top1", "reduction", "pruned", "restored", "final")


def progress_line(name: str, trainer: Trainer, progress: Progress) -> str:
    """The last epoch of the run `name` in a line, with the time that is left."""
    row, total = progress.rows[-1], trainer.config["training"]["recipe"]["epochs"]
    scored = "" if row["top1"] is None else f"top-1 {row['top1']:.2f} %  "
    left = progress.seconds / progress.epoch * (total - progress.epoch)
    return (
        f"{name}  epoch {row['epoch']}/{total}  lr {row['lr']:.4f}  loss {row['train_loss']:.3f}  "
        f"{scored}multiply-adds -{100 * row['reduction']:.1f} %  restored {row['restored']}  "
        f"{trainer.images_per_second:.0f} images/s  "
        f"{time.strftime('%H:%M:%S', time.gmtime(left))} left"
    )


def write_network(trainer: Trainer, outcome: TrainResult, folder: Path) -> None:
    """Write the trained network to `folder`, with its accuracy and the size of its images."""
    saved.save(
        outcome.network,
        folder,
        name=trainer.config["model"],
        classes=trainer.classes,
        in_channels=trainer.in_channels,
        extra={"top1_last": outcome.result["top1_last"], saved.IMAGE_SIZE: trainer.image_size},
    )


def write_tables(
    folder: Path, epochs: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]] | None
) -> list[Path]:
    """Write epochs.csv and, where there is a `history` (an empty one too), history.csv; returns the files written."""
    files = [folder / "epochs.csv"]
    write_csv(files[0], _EPOCH_COLUMNS, epochs)
    if history is not None:
        files.append(folder / "history.csv")
        write_csv(files[1], HISTORY_COLUMNS, history)
    return files
