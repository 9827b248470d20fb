"""`psap train`, `rerun`, `evaluate` and `show`: one run of a suite."""

from pathlib import Path
from typing import Annotated

import typer

from psap.cli.device import device, is_rank
from psap.cli.params import Params
from psap.utils.bounds import MOST_THREADS

app = typer.Typer()


@app.command()
def train(
    run: Annotated[str, typer.Argument(help="Path of the run: <suite>/<model>/<init>/<method>/<target>/seed<k>.")],
    params: Params = Path("params"),
    threads: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_THREADS, help="Number of processor threads, or on a GPU of processes that decode images."
        ),
    ] = 1,
    processes: Annotated[
        int,
        typer.Option(
            min=0, max=64, help="Number of processes that train it, each on its own GPU; 0 trains on the processor."
        ),
    ] = 1,
) -> None:
    """Train one run of a suite, or resume it, and write its files."""
    from psap.data.sharding import Shard
    from psap.suites.grid import load_run
    from psap.training import launch
    from psap.utils import gpu_locks

    grid, chosen = load_run(params, run)
    if processes > 1 and not is_rank():
        training = chosen.config.training
        Shard(0, processes, training.micro_batch).accumulation_steps(training.batch_size)  # or it cannot be
        gpu_locks.acquire_gpus(processes)
        launch.launch(processes, "train", run, f"--params={params}", f"--threads={max(1, threads // processes)}")
        return
    chosen_device = device(gpu=processes > 0)
    import torch

    from psap.suites.run import execute
    from psap.utils import distributed

    torch.set_num_threads(threads)
    with distributed.process_group(chosen_device):
        summary = execute(grid, chosen, chosen_device, threads if chosen_device.type == "cuda" else 0)
    if summary:
        typer.echo(summary)


@app.command()
def rerun(
    run: Annotated[str, typer.Argument(help="Path of a run with results below results/.")],
    params: Params = Path("params"),
) -> None:
    """Train one run again, apart from the results, and compare every number."""
    from psap.suites.rerun import rerun as run_again

    for line in run_again(params, run, device):
        typer.echo(line)


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Path of a run with a network and results here, or folder with both.")],
) -> None:
    """Score a saved network on its held-out images, and compare every image with its row."""
    from psap.suites.evaluate import evaluate as score

    typer.echo(score(run))


@app.command()
def show(run: Annotated[str, typer.Argument(help="Path of a run with results below results/.")]) -> None:
    """Show all about one run: parameters, results, where they come from, and how to make them again."""
    from psap.suites.show import show as sections

    for title, lines in sections(run):
        typer.echo(title)
        for name, value in lines:
            typer.echo(f"  {name:<32} {value}")
