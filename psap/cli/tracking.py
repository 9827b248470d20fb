"""`psap track` and `psap ui`: runs in MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from psap.errors import PsapError

app = typer.Typer()


@app.command()
def track(
    state: Annotated[Path, typer.Argument(help="Folder of the runs' state.")] = Path("state"),
    register: Annotated[
        str, typer.Option(metavar="SUITE", help="Then register the suite's best networks in MLflow's registry.")
    ] = "",
) -> None:
    """Bring MLflow up to date after its store was slow, locked or gone. Nothing is written twice."""
    from psap.suites.paths import CHECKPOINTS, RESULTS
    from psap.tracking import journal_report, replay, tell_without_journal
    from psap.workflow.apart import results_of_this_machine

    folders = [results_of_this_machine(folder.name) for folder in sorted(RESULTS.glob("*"))]
    for folder in folders:
        journal_report(folder, state)
    tell_without_journal(folders, state, CHECKPOINTS)
    done = replay(state)
    typer.echo(f"brought up to date: {done.mirrored}; already there: {done.current}; still running: {done.live}")
    if done.failed:
        raise PsapError(f"{len(done.failed)} runs could not be tracked, the first of them: {done.failed[0]}")
    if register:
        from psap.tracking.register import register as register_best

        for line in register_best(register):
            typer.echo(line)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve MLflow's pages on this machine until stopped, and print the addresses of the suites."""
    from psap.tracking.ui import serve_pages

    serve_pages(port, typer.echo)
