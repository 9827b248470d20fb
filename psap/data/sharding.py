"""Which images of an epoch a process takes, and how many at a time."""

from dataclasses import dataclass

from psap.errors import PsapError


@dataclass(frozen=True)
class Shard:
    """The share of process `rank` among `ranks` that train one network, `micro_batch` images at a time (None: all).

    A batch is cut into micro-batches, which the ranks take in turns; so what each optimiser step sees, and what
    batch-norm does, is the same for any number of ranks. Several therefore need a micro-batch.
    """

    rank: int = 0
    ranks: int = 1
    micro_batch: int | None = None

    def accumulation_steps(self, batch_size: int) -> int:
        """Micro-batches that this rank contributes to a batch. Raises PsapError when a batch cannot be shared so."""
        if not self.micro_batch and self.ranks > 1:
            raise PsapError(
                f"{self.ranks} processes need training: {{micro_batch: ...}} in the suite, such as "
                f"{max(1, batch_size // self.ranks)}: what batch-norm sees is a part of a run, and their number is none"
            )
        taken = (self.micro_batch or batch_size) * self.ranks
        if batch_size % taken:
            raise PsapError(
                f"a batch of {batch_size} images cannot be shared by {self.ranks} processes that take "
                f"{self.micro_batch} images at a time"
            )
        return batch_size // taken

    def training(self, count: int, batch_size: int) -> list[slice]:
        """The slices of an epoch's `count` images, in the order in which this rank trains on them.

        An incomplete last batch is left out, unless it is the only one and there is one process to take it.
        """
        accumulation_steps = self.accumulation_steps(batch_size)
        if count < batch_size:
            if self.ranks * accumulation_steps > 1:
                raise PsapError(
                    f"{count} training images do not fill a batch of {batch_size}, so that a process or a micro-batch "
                    "would have none; lower batch_size or take fewer processes"
                )
            return [slice(0, count)]
        size = batch_size // (self.ranks * accumulation_steps)
        return [
            slice(start + micro * size, start + (micro + 1) * size)
            for start in range(0, count - batch_size + 1, batch_size)
            for micro in range(self.rank, batch_size // size, self.ranks)
        ]

    def slices(self, count: int, batch_size: int, train: bool) -> tuple[list[slice], int]:
        """This rank's slices of `count` images, to train on or to score, and how many of them make a step's part."""
        if train:
            return self.training(count, batch_size), self.accumulation_steps(batch_size)
        return self.evaluation(count, batch_size), 1

    def evaluation(self, count: int, batch_size: int) -> list[slice]:
        """The slices of `count` images that this rank scores; all ranks together score every image once."""
        starts = range(self.rank * batch_size, count, self.ranks * batch_size)
        return [slice(start, min(start + batch_size, count)) for start in starts]
