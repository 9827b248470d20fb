"""The row of a run, results/<run>/run.json: one schema for who writes it and who reads it."""

from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from psap.utils.mappings import JsonObject

IDENTITY = ["run", "suite", "model", "init", "method", "target", "seed"]
RESULT = ["top1_last", "top1_best", "top5_last", "dense_top1", "drop"]
RESULT += ["macs", "macs_dense", "macs_reduction", "params", "params_dense", "params_reduction"]


Counted = Annotated[int, Field(lt=2**63)]


class Record(BaseModel):
    """A part of a committed file. Unknown keys are ignored; NaN is refused, since JSON has none."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Result(Record):
    top1_last: float
    top1_best: float | None = None
    top5_last: float | None = None
    dense_top1: float
    drop: float
    macs: Counted
    macs_dense: Counted
    macs_reduction: float
    params: Counted
    params_dense: Counted
    params_reduction: float


class Cost(Record):
    seconds: float | None = None
    latency_ms: float | None = None
    latency_dense_ms: float | None = None
    images_per_second: float | None = None
    peak_memory_mb: float | None = None


class Provenance(Record):
    code: str
    data: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    hardware: str
    device: str
    finished: AwareDatetime
    precision: str = ""  # this and the next are empty in rows that were made before they were recorded
    machine: JsonObject = {}


class Divergence(Record):
    """`what` is wrong after `epoch` epochs; 0 where the run could not begin."""

    epoch: int
    what: str


class Row(Record):
    """One run.json. Accuracies are percentages, reductions shares, latencies milliseconds.

    There is a result, unless the training diverged.
    """

    run: str
    suite: str
    model: str
    init: str | None
    method: str
    target: float
    seed: int
    hash: str
    config: JsonObject
    result: Result | None
    cost: Cost
    provenance: Provenance
    diverged: Divergence | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.result is None) == (self.diverged is None):
            raise ValueError("a run has a result, or it has diverged")
        return self

    def row(self) -> JsonObject:
        """The run's line of runs.csv; a dense run's init is empty, and so is the result of one that diverged."""
        identity = {name: getattr(self, name) for name in IDENTITY} | {"init": self.init or ""}
        result = self.result.model_dump() if self.result else dict.fromkeys(RESULT)
        told = {"diverged": self.diverged.what if self.diverged else ""}
        return identity | result | {"hash": self.hash} | self.cost.model_dump() | told
