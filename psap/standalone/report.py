"""The report (one page that stands alone) and the model card of a network that `psap prune` has made."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from psap.models.architecture import WEIGHTS
from psap.pruning.one_shot import prune_at_once
from psap.standalone.plan import Plan, summary
from psap.standalone.request import in_words
from psap.training.evaluation import LATENCY_BATCH, latencies
from psap.utils.mappings import JsonObject
from psap.utils.plotting import COLD, WARM, drawn, styled, whole_numbers
from psap.utils.svg import parts
from psap.utils.text import escaped, fenced, table
from psap.utils.validation import read_rows

_FOLDERS = [Path(__file__).parent, Path(__file__).parents[1] / "analysis"]
Result = JsonObject


def model_card(plan: Plan, dense: Result, pruned: Result) -> str:
    """The model card, in Markdown: what it is, how it was made, its numbers, seed and versions."""
    header = ("", "dense", "pruned", "change")
    return _template("card.md.j2", False).render(
        _said(plan, dense, pruned), numbers=table(header, _numbers(dense, pruned))
    )


def report(folder: Path, plan: Plan, dense: Result, pruned: Result) -> str:
    """The page, from the two results and the tables that lie in `folder` and its dense/."""
    epochs, before = _rows(folder / "epochs.csv"), _rows(folder / "dense" / "epochs.csv")
    history = _rows(folder / "history.csv")
    last = [row for row in history if row["step"] == history[-1]["step"]]
    with styled():
        figures = [
            (
                "Training",
                _training(before, epochs),
                "Top-1 on the held-out images and the share of multiply-adds removed, by epoch.",
            ),
            ("What remains", _groups(last), "Channels of every group, in the order of the layers: kept and removed."),
        ]
        images = [(title, parts(figure, drawn(figure, "svg")), caption) for title, figure, caption in figures]
    return _template("report.html.j2", True).render(
        _said(plan, dense, pruned), numbers=_numbers(dense, pruned), figures=images, groups=last, reasons=plan.groups
    )


def _template(name: str, escape: bool) -> Template:
    loader = FileSystemLoader(_FOLDERS)
    environment = Environment(
        loader=loader, autoescape=escape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"escaped": escaped, "fenced": fenced}
    return environment.get_template(name)


def _said(plan: Plan, dense: Result, pruned: Result) -> JsonObject:
    request = plan.request
    return {
        "request": request,
        "summary": summary(plan),
        "yaml": yaml.safe_dump(request.model_dump(mode="json", exclude_unset=True), sort_keys=False),
        "method_in_words": in_words(request.method),
        "out_in_python": json.dumps(request.out),
        "out_in_shell": shlex.quote(request.out),
        "method": yaml.safe_dump(request.method.identity(), sort_keys=False),
        "trained_before": dense["config"]["training"]["recipe"]["epochs"],
        "classes": pruned["data"]["classes"],
        "shape": " x ".join(map(str, plan.images.shape)),
        "provenance": pruned["provenance"],
        "result": pruned["result"],
        "cost": pruned["cost"],
        "seconds": dense["cost"]["seconds"] + pruned["cost"]["seconds"],
        "label": pruned["data"]["label"],
        "weights": WEIGHTS,
        "normalised": normalised(plan),
        "preprocessing": pruned["preprocessing"],
        "mode": "L" if plan.images.shape[0] == 1 else "RGB",
        "rounding": _rounding(plan),
    }


def _rounding(plan: Plan) -> dict[str, float]:
    """What `round_to` gains: milliseconds of 32 images in the shape with it and without it, all groups at one ratio."""
    method, dense = plan.request.method, plan.network
    if method.round_to == 1:
        return {}
    images = torch.randn(LATENCY_BATCH, *plan.images.shape)
    shapes = [
        prune_at_once(dense.model, dense.images, plan.request.target, each, method) for each in (method.round_to, 1)
    ]
    for shape in shapes:
        shape.to(memory_format=torch.channels_last)  # as the networks in the table
    return dict(zip(("rounded", "free"), latencies(shapes, images), strict=True))


def normalised(plan: Plan) -> str:
    """How an image becomes the network's input, in words."""
    photos = plan.data.photos
    if photos is None:
        return "pixels in 0..1, normalised by channel with the training images' mean and standard deviation"
    return (
        f"the middle of the photograph at {photos.size} x {photos.size}, pixels in 0..1, minus {list(photos.mean)}, "
        f"divided by {list(photos.std)}"
    )


def _numbers(dense: Result, pruned: Result) -> list[tuple[str, str, str, str]]:
    """Dense and pruned side by side: what, dense, pruned, change."""
    before, after, cost = dense["result"], pruned["result"], pruned["cost"]
    points = [
        (f"top-{k}, %", f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}")
        for k in (1, 5)
        for a, b in [(before[f"top{k}_last"], after[f"top{k}_last"])]
    ]
    amounts = [
        ("multiply-adds, M", after["macs_dense"] / 1e6, after["macs"] / 1e6),
        ("parameters, M", after["params_dense"] / 1e6, after["params"] / 1e6),
    ]
    if "latency_ms" in cost:  # not where the machine was too busy to tell
        amounts.append(("latency of 32 images, ms", cost["latency_dense_ms"], cost["latency_ms"]))
    return points + [(name, f"{a:.2f}", f"{b:.2f}", f"{100 * (b / a - 1):+.1f} %") for name, a, b in amounts]


def _rows(file: Path) -> list[dict[str, str]]:
    return read_rows(file, (), "delete it and run the same command again")


def _training(before: Sequence[Mapping[str, str]], epochs: Sequence[Mapping[str, str]]) -> Figure:
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    axes = figure.subplots()
    start = len(before)
    for rows, first, color, name in ((before, 0, COLD[0], "dense"), (epochs, start, WARM[0], "pruned")):
        scored = [(first + int(row["epoch"]), float(row["top1"])) for row in rows if row["top1"]]
        if scored:
            axes.plot(*zip(*scored, strict=True), color=color, marker="o", markersize=3.5, label=f"top-1, {name}")
    removed = [(start + int(row["epoch"]), 100 * float(row["reduction"])) for row in epochs]
    axes.step(*zip(*removed, strict=True), where="mid", color="#999999", label="multiply-adds removed")
    axes.set_xlabel("epoch")
    axes.set_ylabel("%")
    axes.set_ylim(0, 100)
    whole_numbers(axes)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _groups(last: Sequence[Mapping[str, str]]) -> Figure:
    figure = Figure(figsize=(7.0, 0.9 + 0.16 * len(last)), layout="constrained")
    axes = figure.subplots()
    places = range(len(last))
    removed = [int(row["pruned"]) - int(row["restored"]) for row in last]
    kept = [int(row["channels"]) - gone for row, gone in zip(last, removed, strict=True)]
    axes.barh(places, kept, color=WARM[0], label="kept")
    axes.barh(places, removed, left=kept, color="#d9d8d2", label="removed")
    axes.set_yticks(places, [row["group"] for row in last], fontsize=6.5)
    axes.set_ylim(len(last) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("channels")
    figure.legend(loc="outside upper center", ncols=2)
    return figure
