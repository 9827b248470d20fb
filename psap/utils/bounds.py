"""Names and numbers that a user gives: within what arithmetic, memory and file systems take, far beyond all use."""

from typing import Annotated, Literal

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]
"""Names of modules, with `*` for any characters."""
Model = Annotated[str, Field(min_length=1, max_length=100)]
"""The name of a network; psap.models.names knows its form."""
Place = Annotated[str, Field(min_length=1, max_length=4000)]
"""A path."""
Count = Annotated[int, Field(gt=0, le=10**9)]
Epochs = Annotated[int, Field(gt=0, le=10**5)]
Batch = Annotated[int, Field(gt=0, le=10**6)]
"""Images, channels or iterations that are taken together."""
Classes = Annotated[int, Field(gt=0, le=10**5)]
Pixels = Annotated[int, Field(ge=32, le=4096)]
"""Of an image's side."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Decay = Annotated[float, Field(gt=0, lt=1)]
"""Of an exponential mean: what of it stays at each step."""
Penalty = Annotated[float, Field(ge=0, le=1000)]
Measure = Literal["macs", "params"]
"""What a target is a share of."""
Precision = Literal["float32", "bfloat16", "float16", "auto"]
"""What a training computes in (psap.training.precision)."""
MOST_THREADS = 1024
MOST_RUNS = 100_000
"""Of a suite."""
