"""`psap prune`: a network and images in, a smaller network and a report out."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from psap.cli.device import device
from psap.cli.keep import Ignore, Ratio, ThroughNorms, kept
from psap.cli.working import working
from psap.errors import PsapError
from psap.utils.mappings import JsonObject

app = typer.Typer()
_OF_METHOD = ("round_to", "distill", "ema", "ignore", "ratio", "through_norms")  # keys of the request's method


@app.command()
def prune(
    request: Annotated[Path | None, typer.Argument(help="YAML file with the same keys; options override it.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a network, such as timm:resnet50.")] = None,
    data: Annotated[str | None, typer.Option(help="Folder of photographs, or `digits`, or `cifar10`.")] = None,
    target: Annotated[float | None, typer.Option(help="Share of the multiply-adds to remove, between 0 and 1.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder to write.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="File of weights, folder of a saved network, or `published`.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of pruning epochs (default: 30).")] = None,
    dense_epochs: Annotated[
        int | None, typer.Option(help="Number of epochs to train before pruning, where needed.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a photograph's side (default: the network's).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Number of images in a step (default: 32).")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (default: 0.01 with weights, 0.05 without).")] = None,
    round_to: Annotated[
        int | None, typer.Option(help="Keep counts of channels at multiples of it (default: 8).")
    ] = None,
    distill: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHT:TEMPERATURE", help="Learn from the dense network too, such as 0.5:4 (default: not)."
        ),
    ] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of a mean of the weights, which is the result.")] = None,
    ignore: Ignore = None,
    ratio: Ratio = None,
    through_norms: ThroughNorms = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random (default: 0).")] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run the Python file that the method names under `code`.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, every image too, show the plan and stop.")
    ] = False,
) -> None:
    """Prune your own network while it trains. After an interruption, run the same command again to resume."""
    given = {
        name: value
        for name, value in locals().items()
        if name not in ("request", *_OF_METHOD, "allow_code", "dry_run") and value is not None
    }
    from psap.standalone.request import PruneRequest
    from psap.utils.validation import validated
    from psap.utils.yaml_files import read_mapping

    values: JsonObject = (read_mapping(request) if request else {}) | given
    where, method = str(request or "options"), values.get("method", {})
    if isinstance(method, dict):  # else it is refused below
        if method.get("code") and not allow_code:
            raise PsapError(
                f"{where}: method.code: this request runs the Python file {method['code']!r}; read that file, then "
                "give --allow-code"
            )
        numbers = {"round_to": round_to, "ema": ema, "distill": _distillation(distill) if distill else None}
        own = {name: value for name, value in numbers.items() if value is not None}
        if own := own | kept(ignore, ratio, through_norms):
            values["method"] = method | own
    _carry_out(validated(PruneRequest, values, where), dry_run)


def _distillation(word: str) -> JsonObject:
    weight, _, temperature = word.partition(":")
    try:
        return {"weight": float(weight), "temperature": float(temperature)}
    except ValueError:
        raise PsapError(f"--distill {word}: not of the form WEIGHT:TEMPERATURE, such as 0.5:4") from None


def _carry_out(request: Any, dry_run: bool) -> None:
    from psap.data.decoding import BadImages
    from psap.planning.report import duration
    from psap.pruning.inspect import render
    from psap.standalone.folder import is_finished
    from psap.standalone.plan import summary
    from psap.standalone.run import Pruning

    out = Path(request.out)
    if is_finished(request):
        typer.echo(f"{out / 'report.html'}: made before; there is nothing left to do")
        return
    chosen = device()
    with working(f"find what {request.model} can lose"):
        pruning = Pruning(request, chosen, (os.cpu_count() or 1) if chosen.type == "cuda" else 0)
    render(pruning.plan.groups)
    typer.echo("\n".join(f"{name:<10}{value}" for name, value in summary(pruning.plan)))
    if dry_run:
        try:
            pruning.read_images()
        except BadImages as error:
            for told in error.others:  # the error names the first
                typer.echo(f"also {told}")
            raise
        return
    try:
        pruning.run(
            lambda seconds, mib: typer.echo(f"{'cost':<10}about {duration(seconds / 3600)} here, {mib:,.0f} MiB")
        )
    except KeyboardInterrupt:
        typer.echo(
            f"psap: interrupted; run the same command again to resume after the last whole epoch (state: {out}/state)",
            err=True,
        )
        raise typer.Exit(130) from None
    typer.echo(f"{out / 'report.html'}")
