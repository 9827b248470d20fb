"""`psap reproduce`, `plan`, `analyse` and the like: whole suites, their data and their leftovers."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from psap.cli.params import Params

app = typer.Typer()
PUBLISHED = Path("params/published.csv")


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
    accept: Annotated[
        bool, typer.Option("--accept", help="Let results that agree with the committed ones take their place.")
    ] = False,
) -> None:
    """Run suites to their reports with Snakemake. After an interruption, run the same command again to resume."""
    from psap.workflow.reproduce import run_workflow

    suites = list(takewhile(lambda word: not word.startswith("-"), words))
    sys.exit(run_workflow(suites, cores, words[len(suites) :], anyway, accept))


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
    from psap.data.schema import Data
    from psap.suites.paths import data_file
    from psap.utils.validation import validated

    left_in_place = photos or source == "imagenet"
    values: dict[str, object] = {"source": source, "path": path or None, "photos": {} if left_in_place else None}
    chosen = validated(Data, values, "psap data")
    file = data_file(chosen)
    manifest = sources.prepare(source, path or None, file, as_photos=photos)
    typer.echo(f"{file}: {manifest['label']}")


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
    from psap.planning.gpus import GPUS
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
def report(
    first: Annotated[str, typer.Argument(help="A suite: results/<suite>, or REVISION:results/<suite> from git.")],
    second: Annotated[str, typer.Argument(help="Another one, or the same at another commit.")],
    html: Annotated[Path | None, typer.Option(help="Also write the comparison to this file, as a page.")] = None,
) -> None:
    """Compare two suites, or one at two commits: the runs that both have, and the verdicts."""
    from psap.analysis.versus import Versus, page, read_side, told
    from psap.utils.files import write_text

    versus = Versus(read_side(first), read_side(second))
    if html:
        write_text(html, page(versus))
    typer.echo(told(versus))


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
def publish(
    remote: Annotated[str, typer.Argument(help="Where networks and data go: a folder, ssh://..., s3://...")],
) -> None:
    """Share networks and data by DVC, and commit what a clone pulls them by, after a clone has pulled them."""
    from psap.workflow.publish import publish as share

    for line in share(remote):
        typer.echo(line)


@app.command()
def archive(
    suite: Annotated[str, typer.Argument(help="Name of a suite: a file in params/ whose runs are in results/.")],
    out: Annotated[Path | None, typer.Option(help="File to write (default: <suite>.zip).")] = None,
) -> None:
    """Write a suite to one zip to deposit: rows, tables, report, parameters, networks, and the digest of each."""
    from psap.workflow.archive import archive as write

    typer.echo(write(suite, out or Path(f"{suite}.zip")))
