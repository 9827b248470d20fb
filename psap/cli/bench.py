"""`psap bench`: how fast, as ratios against what one would pick instead."""

import re
from pathlib import Path
from typing import Annotated

import typer

from psap.cli.device import device
from psap.cli.networks import Size
from psap.errors import PsapError
from psap.utils.bounds import MOST_RUNS

app = typer.Typer(help="Speed and memory, as ratios against what one would pick instead.", no_args_is_help=True)

Repetitions = Annotated[int, typer.Option(min=1, max=1000, help="Times that each is measured, in turns.")]
Batches = Annotated[list[int], typer.Option(min=1, max=10**4, help="Images at once; can be given more than once.")]


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A network for 32 x 32 images.")] = "resnet20",
    iterations: Annotated[int, typer.Option(min=1, max=10**5, help="Batches of 128 in a repetition.")] = 20,
    repetitions: Repetitions = 5,
    compile: Annotated[bool, typer.Option("--compile", help="Also under torch.compile (needs a compiler).")] = False,
) -> None:
    """Our training loop, plain and with PSAP, between the bare limit and the conventional way."""
    from psap.bench.train import bench_train
    from psap.models import check_name

    check_name(model)
    typer.echo(bench_train(model, iterations, repetitions, device(), compile))


@app.command()
def prune(repetitions: Repetitions = 5) -> None:
    """Group discovery, a pruning step and compaction beside a plain training step of the same network."""
    from psap.bench.prune import bench_prune

    typer.echo(bench_prune(repetitions, device()))


@app.command()
def track() -> None:
    """What the tracking into MLflow costs a run."""
    from psap.bench.tracking import bench_track

    typer.echo(bench_track())


@app.command()
def plan(
    runs: Annotated[int, typer.Option(min=1, max=MOST_RUNS, help="Runs of the larger of two grids.")] = 10_000,
) -> None:
    """How long Snakemake plans a grid of many runs."""
    from psap.bench.planning import bench_plan

    typer.echo(bench_plan(runs))


@app.command()
def coverage(
    family: Annotated[list[str] | None, typer.Argument(help="Only these families (default: all of timm's).")] = None,
    folder: Annotated[Path, typer.Option(help="Where coverage.csv and coverage.md are.")] = Path("docs"),
    seconds: Annotated[int, typer.Option(min=1, max=10**6, help="Most that a network may take.")] = 900,
    largest: Annotated[int, typer.Option(min=1, max=10**6, help="Most parameters of a network, in millions.")] = 150,
    part: Annotated[
        str, typer.Option(help="K/N: only every N-th family from the K-th on, beside other parts.")
    ] = "1/1",
) -> None:
    """Which of timm's families can be pruned: a row for each that the table lacks."""
    from psap.bench.supported_models import bench_coverage

    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", part)
    if not match or int(match[1]) > int(match[2]):
        raise PsapError(f"--part {part}: write K/N with K from 1 to N, such as 1/4")
    typer.echo(bench_coverage(folder, seconds, largest, family or (), (int(match[1]), int(match[2]))))


@app.command()
def latency(
    compact: Annotated[Path | None, typer.Argument(help="Folder of a saved compacted network.")] = None,
    dense: Annotated[Path | None, typer.Option(help="Its dense network (default: fresh, at full width).")] = None,
    model: Annotated[str, typer.Option(help="Instead of a folder: a network by name, pruned at once, untrained.")] = "",
    target: Annotated[float, typer.Option(min=0.0, max=1.0, help="With --model: share to remove.")] = 0.5,
    round_to: Annotated[int, typer.Option(min=1, max=10**6, help="With --model: keep multiples of it.")] = 1,
    size: Size = None,
    batch: Batches = [1, 8, 32],  # noqa: B006
    way: Annotated[list[str] | None, typer.Option(help="eager, compiled or onnx (default: all that are here).")] = None,
    repetitions: Repetitions = 7,
) -> None:
    """A compacted network beside the dense one on the processor: how much of the saving is real."""
    if (compact is None) == (not model) or (dense and model):
        raise PsapError("give either the folder of a compacted network (and --dense) or --model with a network's name")
    from psap.bench.latency import available, bench_latency
    from psap.models.open import open_named, open_saved
    from psap.pruning.one_shot import prune_at_once

    if compact:
        small = open_saved(compact, size)
        full = open_saved(dense, size) if dense else small.dense()
    else:
        full = open_named(model, size)
        small = full._replace(model=prune_at_once(full.model, full.images, target, round_to))
    typer.echo(bench_latency(full, small, way or available(), batch, repetitions))
