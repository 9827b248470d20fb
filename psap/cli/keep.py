"""The options that keep layers: whole, or within bounds of their own."""

from typing import Annotated, Any

import typer

from psap.errors import PsapError

Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Layers to keep whole, such as stem or 'head.*'; may be given several times."),
]
Ratio = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB=LEAST:MOST",
        help="Share that some layers lose, such as 'layer4.*=0:0.3'; may be given several times.",
    ),
]
ThroughNorms = Annotated[
    bool,
    typer.Option("--through-norms", help="Also prune what LayerNorm or RMSNorm looks at together: residual streams."),
]


def kept(ignore: list[str] | None, ratio: list[str] | None, through_norms: bool) -> dict[str, Any]:
    """The keys of a method that the options stand for. Raises PsapError for a ratio that is none."""
    given: dict[str, Any] = {"ignore": ignore} if ignore else {}
    if through_norms:
        given["through_norms"] = True
    if ratio:
        given["ratios"] = dict(map(_ratio, ratio))
    return given


def _ratio(word: str) -> tuple[str, tuple[float, float]]:
    glob, _, bounds = word.rpartition("=")
    least, colon, most = bounds.partition(":")
    try:
        if glob and colon:
            return glob, (float(least), float(most))
    except ValueError:
        pass
    raise PsapError(f"--ratio {word}: not of the form GLOB=LEAST:MOST, such as 'layer4.*=0:0.3'")
