"""The `psap` command: thin, one function for each verb."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

import psap
from psap.cli import bench, networks
from psap.cli import prune as pruning
from psap.cli.device import device, is_rank
from psap.errors import PsapError, one_line, raise_out_of_memory
from psap.utils.bounds import MOST_THREADS
from psap.utils.limits import check_memory_limit

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(networks.app)
app.add_typer(pruning.app)
app.add_typer(bench.app, name="bench")
PUBLISHED = Path("params/published.csv")


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"psap {psap.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Prune the filters of a network, and reproduce, compare and ablate Protective Self-Adaptive Pruning."""


Params = Annotated[Path, typer.Option(help="Folder of the suites and methods.")]


@app.command(context_settings={"ignore_unknown_options": True})
def reproduce(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITES... [SNAKEMAKE OPTIONS]",
            help="Names of files in params/, then any options of Snakemake, such as: demo --profile profiles/slurm",
        ),
    ],
    cores: Annotated[
        str, typer.Option(help="Number of jobs at once (default: all cores, or what a profile says).")
    ] = "",
    anyway: Annotated[bool, typer.Option("--anyway", help="Also start what takes this machine days.")] = False,
) -> None:
    """Run suites to their reports with Snakemake. After an interruption, run the same command again to resume."""
    from psap.workflow.reproduce import run_workflow

    suites = list(takewhile(lambda word: not word.startswith("-"), words))
    sys.exit(run_workflow(suites, cores, words[len(suites) :], anyway))


@app.command()
def data(
    source: Annotated[str, typer.Argument(help="Source of the images: digits, cifar10, imagenet or folder.")],
    path: Annotated[str, typer.Option(help="Folder of images with train/<class>/* and test/<class>/*.")] = "",
    photos: Annotated[
        bool, typer.Option("--photos", help="Leave the images in place, and decode them in training.")
    ] = False,
) -> None:
    """Prepare a data set: read and check every image, and write it to data/."""
    from psap.data import sources
    from psap.suites.paths import data_file
    from psap.suites.schema import Data
    from psap.utils.validation import validated

    left_in_place = photos or source == "imagenet"
    values: dict[str, object] = {"source": source, "path": path or None, "photos": {} if left_in_place else None}
    chosen = validated(Data, values, "psap data")
    file = data_file(chosen)
    manifest = sources.prepare(source, path or None, file, as_photos=photos)
    typer.echo(f"{file}: {manifest['label']}")


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
        training = chosen.config["training"]
        Shard(0, processes, training.get("micro_batch")).accumulation_steps(training["batch_size"])  # or it cannot be
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
def show(run: Annotated[str, typer.Argument(help="Path of a run with results below results/.")]) -> None:
    """Show all about one run: parameters, results, where they come from, and how to make them again."""
    from psap.suites.show import show as sections

    for title, lines in sections(run):
        typer.echo(title)
        for name, value in lines:
            typer.echo(f"  {name:<32} {value}")


@app.command()
def grid(suite: str, params: Params = Path("params")) -> None:
    """Write the contents of a suite to results/<suite>/suite.json, for the analysis."""
    from psap.data import prepared
    from psap.suites.grid import load_grid
    from psap.suites.paths import data_file
    from psap.utils.files import write_json

    chosen = load_grid(params, suite)
    manifest = prepared.read(data_file(chosen.suite.data))[1].model_dump()
    write_json(Path("results") / suite / "suite.json", chosen.describe(manifest))


@app.command()
def plan(
    suites: Annotated[list[str] | None, typer.Argument(help="Names of files in params/ (default: all).")] = None,
    params: Params = Path("params"),
) -> None:
    """Show what suites cost before they run, and what their seeds can see: runs, GPU-hours, disk, seeds."""
    from psap.planning.estimate import GPUS
    from psap.planning.report import costs, sight
    from psap.suites.grid import load_grid, load_grids

    grids = {name: load_grid(params, name) for name in suites} if suites else load_grids(params)
    seen = sight(grids, params)
    typer.echo(f"{costs(grids, list(GPUS))}\n{seen}")


@app.command()
def analyse(
    folder: Annotated[Path, typer.Argument(help="Folder of a suite: results/<suite>.")],
    published: Annotated[
        Path | None,
        typer.Option(help=f"File of published results to show next to ours ({PUBLISHED}, where there is one)."),
    ] = None,
    rules: Annotated[Path, typer.Option(help="File of what decides verdicts (default: psap's own rules).")] = Path(
        "params/verdicts.yaml"
    ),
    readings: Annotated[Path, typer.Option(help="File of the variants that are readings of the method.")] = Path(
        "params/readings.yaml"
    ),
) -> None:
    """Make tables, figures, claims and report.html of a suite from the files of its runs."""
    from psap.analysis import analyse as run_analysis

    run_analysis(folder, published or (PUBLISHED if PUBLISHED.exists() else None), rules, readings)
    typer.echo(f"{folder / 'report.html'}")


@app.command()
def leftovers(
    params: Params = Path("params"),
    remove: Annotated[bool, typer.Option("--remove", help="Delete them; without --yes, only list them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --remove: really delete what is listed.")] = False,
) -> None:
    """List the results, networks and state of runs that are in no suite any more."""
    from psap.suites import cleanup as module

    found = module.leftovers(params)
    for folder in found:
        typer.echo(folder)
    said = module.summary(found, params)
    if found and remove and yes:
        module.remove(found)
        said += ": removed"
    elif found and remove:
        said += "; nothing was removed: add --yes to delete them"
    typer.echo(said, err=True)


@app.command()
def track(state: Annotated[Path, typer.Argument(help="Folder of the runs' state.")] = Path("state")) -> None:
    """Bring MLflow up to date after its store was slow, locked or gone. Nothing is written twice."""
    from psap.suites.paths import CHECKPOINTS, RESULTS
    from psap.tracking import journal_report, replay, tell_without_journal

    folders = sorted(RESULTS.glob("*"))
    for folder in folders:
        journal_report(folder, state)
    tell_without_journal(folders, state, CHECKPOINTS)
    done = replay(state)
    typer.echo(f"brought up to date: {done.mirrored}; already there: {done.current}; still running: {done.live}")
    if done.failed:
        raise PsapError(f"{len(done.failed)} runs could not be tracked, the first of them: {done.failed[0]}")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        _in_utf8(sys.argv)
        check_memory_limit()
        _run()
    except typer.TyperException as error:  # a verb or an option that there is not, or a value that it does not take
        if not (message := error.format_message()):  # without any verb: the help was shown
            sys.exit(2)
        _refuse(f"{message} (psap --help)")
    except OSError as error:  # what the surroundings refuse, wherever it is met: a name too long, a folder not ours
        _refuse(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    except PsapError as error:
        _refuse(error)


def _run() -> None:
    try:
        sys.exit(app(standalone_mode=False))
    except Exception as error:
        raise_out_of_memory(error)
        raise


def _refuse(message: object) -> None:
    print(f"psap: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def _in_utf8(words: list[str]) -> None:
    """Refuse what a path, a message or a digest cannot be made of later."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise PsapError(f"{word!a}: not in UTF-8; rename it, or write it in that encoding") from None
