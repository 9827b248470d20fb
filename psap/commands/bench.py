"""`psap bench`: how fast, as ratios against what one would pick instead."""

from typing import Annotated

import typer

from psap.commands.device import device

app = typer.Typer(help="Speed and memory, as ratios against what one would pick instead.", no_args_is_help=True)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A network for 32 x 32 images.")] = "resnet20",
    iterations: Annotated[int, typer.Option(min=1, help="Batches of 128 in a repetition.")] = 20,
    repetitions: Annotated[int, typer.Option(min=1, help="Times that every way is measured, in turns.")] = 5,
    compile: Annotated[bool, typer.Option("--compile", help="Also under torch.compile (needs a compiler).")] = False,
) -> None:
    """Our training loop, plain and with PSAP, between the bare limit and the conventional way."""
    from psap.bench.train import bench_train
    from psap.models import check_name

    check_name(model)
    typer.echo(bench_train(model, iterations, repetitions, device(), compile))


@app.command()
def prune(
    repetitions: Annotated[int, typer.Option(min=1, help="Times that every part is measured.")] = 5,
) -> None:
    """Group discovery, a pruning step and compaction beside a plain training step of the same network."""
    from psap.bench.prune import bench_prune

    typer.echo(bench_prune(repetitions, device()))


@app.command()
def track() -> None:
    """What the tracking into MLflow costs a run."""
    from psap.bench.track import bench_track

    typer.echo(bench_track())


@app.command()
def plan(
    runs: Annotated[int, typer.Option(min=1, help="Runs of the larger of two grids.")] = 10_000,
) -> None:
    """How long Snakemake plans a grid of many runs."""
    from psap.bench.plan import bench_plan

    typer.echo(bench_plan(runs))
