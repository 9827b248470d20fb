"""What a training says while it goes on, and what it leaves behind."""

import time
from collections.abc import Sequence
from pathlib import Path

from psap.models import architecture, saved
from psap.pruning.history import COLUMNS as HISTORY_COLUMNS
from psap.training.loop import Progress
from psap.training.result import TrainResult, images_per_second
from psap.training.trainer import Trainer
from psap.utils.files import write_csv
from psap.utils.mappings import JsonObject

_EPOCH_COLUMNS = ("epoch", "lr", "train_loss", "loss", "top1", "reduction", "pruned", "restored", "final")


def progress_line(name: str, trainer: Trainer, progress: Progress) -> str:
    """The last epoch of the run `name` in a line, with the time that is left."""
    row, total = progress.rows[-1], trainer.config.training.recipe.epochs
    scored = "" if row["top1"] is None else f"top-1 {row['top1']:.2f} %  "
    left = progress.seconds / progress.epoch * (total - progress.epoch)
    return (
        f"{name}  epoch {row['epoch']}/{total}  lr {row['lr']:.4f}  loss {row['train_loss']:.3f}  "
        f"{scored}multiply-adds -{100 * row['reduction']:.1f} %  restored {row['restored']}  "
        f"{images_per_second(trainer.data, progress):.0f} images/s  "
        f"{time.strftime('%H:%M:%S', time.gmtime(left))} left"
    )


def write_network(trainer: Trainer, outcome: TrainResult, folder: Path) -> None:
    """Write the trained network to `folder`, with its accuracy, and what its images and classes are."""
    saved.save(
        outcome.network,
        folder,
        name=trainer.config.model,
        classes=trainer.data.classes,
        in_channels=trainer.data.channels,
        extra={
            "top1_last": outcome.result["top1_last"],
            architecture.IMAGE_SIZE: trainer.data.image_size,
            **trainer.data.told,
        },
    )


def write_tables(folder: Path, epochs: Sequence[JsonObject], history: Sequence[JsonObject] | None) -> list[Path]:
    """Write epochs.csv and, where there is a `history` (an empty one too), history.csv; returns the files written."""
    files = [folder / "epochs.csv"]
    write_csv(files[0], _EPOCH_COLUMNS, epochs)
    if history is not None:
        files.append(folder / "history.csv")
        write_csv(files[1], HISTORY_COLUMNS, history)
    return files
