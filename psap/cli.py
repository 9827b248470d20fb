"""The `psap` command: thin, one function for each verb."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from psap.bounds import MOST_THREADS
from psap.commands import bench, networks
from psap.commands import prune as pruning
from psap.commands.device import device, is_rank
from psap.errors import PsapError, one_line

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(networks.app)
app.add_typer(pruning.app)
app.add_typer(bench.app, name="bench")
Params = Annotated[Path, typer.Option(help="Folder of the suites and methods.")]


@app.command(context_settings={"ignore_unknown_options": True})
def reproduce(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITES... [SNAKEMAKE OPTIONS]",
            help="Names of files in params/, then any options of Snakemake's, as in: demo --profile profiles/slurm",
        ),
    ],
    cores: Annotated[str, typer.Option(help="Jobs at once: a number; all, unless a profile says otherwise.")] = "",
    anyway: Annotated[bool, typer.Option("--anyway", help="Start what takes this machine days, too.")] = False,
) -> None:
    """Run suites to their reports with Snakemake; after any interruption, run it again to go on."""
    from psap.reproduce import run_workflow

    suites = list(takewhile(lambda word: not word.startswith("-"), words))
    sys.exit(run_workflow(suites, cores, words[len(suites) :], anyway))


@app.command()
def data(
    source: Annotated[str, typer.Argument(help="digits, cifar10, imagenet or folder.")],
    path: Annotated[str, typer.Option(help="Folder of images, train/<class>/* and test/<class>/*.")] = "",
    photos: Annotated[bool, typer.Option("--photos", help="Leave the images where they are, to be decoded.")] = False,
) -> None:
    """Prepare a data set: read and check every image, write it to data/."""
    from psap.data import sources
    from psap.reading import validated
    from psap.schema import Data
    from psap.suite import data_file

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
        int, typer.Option(min=1, max=MOST_THREADS, help="Processor threads; on a GPU, processes that decode.")
    ] = 1,
    processes: Annotated[
        int,
        typer.Option(min=0, max=64, help="That train it together, each on its own GPU; 0: one, on the processor."),
    ] = 1,
) -> None:
    """Train one run of a suite (go on, if it was interrupted) and write its files."""
    from psap import devices, launch
    from psap.data.shares import Share
    from psap.suite import load_run

    grid, chosen = load_run(params, run)
    if processes > 1 and not is_rank():
        training = chosen.config["training"]
        Share(0, processes, training.get("micro_batch")).accumulated(training["batch_size"])  # or it cannot be
        devices.claim(processes)
        launch.launch(processes, "train", run, f"--params={params}", f"--threads={max(1, threads // processes)}")
        return
    chosen_device = device(gpu=processes > 0)
    import torch

    from psap import ranks
    from psap.execute import execute

    torch.set_num_threads(threads)
    with ranks.joined(chosen_device):
        summary = execute(grid, chosen, chosen_device, threads if chosen_device.type == "cuda" else 0)
    if summary:
        typer.echo(summary)


@app.command()
def rerun(
    run: Annotated[str, typer.Argument(help="Path of a run that has a row below results/.")],
    params: Params = Path("params"),
) -> None:
    """Train one run again, apart from the results, and compare all that came out with its row."""
    from psap.rerun import rerun as run_again

    for line in run_again(params, run, device):
        typer.echo(line)


@app.command()
def show(run: Annotated[str, typer.Argument(help="Path of a run that has a row below results/.")]) -> None:
    """Tell all about one run: parameters, results, where they come from, and how to make them again."""
    from psap.show import show as sections

    for title, lines in sections(run):
        typer.echo(title)
        for name, value in lines:
            typer.echo(f"  {name:<32} {value}")


@app.command()
def grid(suite: str, params: Params = Path("params")) -> None:
    """Write results/<suite>/suite.json: what the suite consists of, for the analysis."""
    from psap.data import prepared
    from psap.files import write_json
    from psap.suite import data_file, load_grid

    chosen = load_grid(params, suite)
    manifest = prepared.read(data_file(chosen.suite.data))[1].model_dump()
    write_json(Path("results") / suite / "suite.json", chosen.describe(manifest))


@app.command()
def plan(
    suites: Annotated[list[str] | None, typer.Argument(help="Names of files in params/; all without one.")] = None,
    params: Params = Path("params"),
) -> None:
    """Tell what suites cost before they run, and what they can see: runs, GPU-hours by type of GPU, disk, seeds."""
    from psap.costs import costs, sight
    from psap.estimate import GPUS
    from psap.plan import load_grids
    from psap.suite import load_grid

    grids = {name: load_grid(params, name) for name in suites} if suites else load_grids(params)
    seen = sight(grids, params)
    typer.echo(f"{costs(grids, list(GPUS))}\n{seen}")


@app.command()
def analyse(
    folder: Annotated[Path, typer.Argument(help="results/<suite>")],
    published: Annotated[Path, typer.Option(help="Published rows to show beside ours.")] = Path("params/published.csv"),
    rules: Annotated[Path, typer.Option(help="What decides verdicts; without it, psap's own.")] = Path(
        "params/verdicts.yaml"
    ),
    readings: Annotated[Path, typer.Option(help="Which variants are readings of the method.")] = Path(
        "params/readings.yaml"
    ),
) -> None:
    """Make tables, figures, claims and report.html of a suite from its rows alone."""
    from psap.analysis import analyse as run_analysis

    run_analysis(folder, published if published.exists() else None, rules, readings)
    typer.echo(f"{folder / 'report.html'}")


@app.command()
def leftovers(
    params: Params = Path("params"),
    remove: Annotated[bool, typer.Option("--remove", help="Delete them; without --yes, only say so.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --remove: delete what was listed.")] = False,
) -> None:
    """List the results, networks and state of runs that are in no suite any more."""
    from psap import leftovers as module

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
    """Replay to MLflow what a store that was slow, locked or gone has missed, exactly once."""
    from psap.suite import RESULTS
    from psap.tracking import journal_report, replay, tell_without_journal

    folders = sorted(RESULTS.glob("*"))
    for folder in folders:
        journal_report(folder, state)
    tell_without_journal(folders, state)
    done = replay(state)
    typer.echo(f"brought up to date: {done.mirrored}; already there: {done.current}; still running: {done.live}")
    if done.failed:
        raise PsapError(f"{len(done.failed)} runs could not be tracked, the first of them: {done.failed[0]}")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        _in_utf8(sys.argv)
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:  # a verb or an option that there is not, or a value that it does not take
        if not (message := error.format_message()):  # without any verb: the help was shown
            sys.exit(2)
        _refuse(f"{message} (psap --help)")
    except OSError as error:  # what the surroundings refuse, wherever it is met: a name too long, a folder not ours
        _refuse(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    except PsapError as error:
        _refuse(error)


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
