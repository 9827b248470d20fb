"""`psap export`, `psap compact` and `psap inspect`: what can be done with a network outside any suite."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from psap.cli.keep import Ignore, Ratio, ThroughNorms, kept
from psap.cli.working import working

app = typer.Typer()
Size = Annotated[int | None, typer.Option(min=1, max=4096, help="Pixels of an image's side, where they are not known.")]
Classes = Annotated[int | None, typer.Option(min=1, max=10**5, help="Number of classes of a network by name.")]


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved network: model.safetensors and architecture.json.")],
    format: Annotated[
        Literal["onnx", "torch"], typer.Option(help="Format: ONNX, or a program of torch.export.")
    ] = "onnx",
    out: Annotated[Path | None, typer.Option(help="File to write (default: model.onnx or model.pt2 there).")] = None,
    size: Size = None,
) -> None:
    """Write a saved network for other programs, and check that the file computes what the network does."""
    from psap.export import BATCHES, suffix
    from psap.export import export as write
    from psap.models.architecture import told
    from psap.models.open import open_saved

    network = open_saved(folder, size)
    file = out or folder / f"model{suffix(format)}"
    found = write(network.model, network.images, file, format, told(folder))
    shape = ", ".join(map(str, network.images.shape[1:]))
    typer.echo(f"{file}: images (batch, {shape}) -> logits (batch, {network.classes})")
    typer.echo(
        f"largest difference from the network {found.absolute:.1e}, {found.relative:.1e} of the largest output "
        f"(random inputs, batches of {', '.join(map(str, BATCHES))})"
    )


@app.command()
def compact(
    network: Annotated[str, typer.Argument(help="Name of a network, or folder of a saved one.")],
    out: Annotated[Path, typer.Option(help="Folder to write the smaller network to.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="File of weights for a network by name: safetensors, a state_dict or a checkpoint."),
    ] = None,
    size: Size = None,
    classes: Classes = None,
) -> None:
    """Remove the channels that are zero in a network (a masked checkpoint): a smaller one with the same outputs."""
    from psap.models.architecture import IMAGE_SIZE
    from psap.models.open import open_network
    from psap.models.saved import save
    from psap.pruning.cost import count_macs
    from psap.pruning.graph.masked import compact_masked

    opened = open_network(network, size, classes, weights)
    small, removed = compact_masked(opened.model, opened.images)
    channels, *image_size = opened.images.shape[1:]
    extra = {IMAGE_SIZE: image_size}
    save(small, out, name=opened.name, classes=opened.classes, in_channels=channels, extra=extra)
    before, after = (count_macs(model, opened.images) for model in (opened.model, small))
    saved = f"multiply-adds -{1 - after / before:.1%}"
    typer.echo(f"{out}: {removed} channels that were zero are gone, {saved}; same outputs (compared in float64)")


@app.command()
def inspect(
    network: Annotated[str, typer.Argument(help="Name of a network, or folder of a saved one.")],
    size: Size = None,
    classes: Classes = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="File of weights or checkpoint for a network by name (default: fresh weights)."),
    ] = None,
    ignore: Ignore = None,
    ratio: Ratio = None,
    through_norms: ThroughNorms = False,
    csv: Annotated[Path | None, typer.Option(help="File to write the rows to, instead of a table.")] = None,
    svg: Annotated[Path | None, typer.Option(help="File to draw the groups in, too.")] = None,
) -> None:
    """Show the groups of channels of a network: what they cost, what they could lose, what that would do."""
    from psap.models.open import open_network
    from psap.pruning.inspect import COLUMNS, inspect_network, render
    from psap.pruning.method import Method
    from psap.utils.validation import validated

    method = validated(Method, kept(ignore, ratio, through_norms), "options")
    with working(f"find what {network} can lose"):
        opened = open_network(network, size, classes, weights)
        rows = inspect_network(opened.model, opened.images, method)
    if svg:
        from psap.pruning.picture import groups_svg
        from psap.utils.files import write_bytes

        write_bytes(svg, groups_svg(rows))
        typer.echo(f"{svg}: a picture of {len(rows)} groups")
    if csv:
        from psap.utils.files import write_csv

        write_csv(csv, COLUMNS, rows)
        typer.echo(f"{csv}: {len(rows)} groups")
    else:
        render(rows)
