"""The suite's tables: a row per model, init, method, target, as CSV, Markdown, LaTeX and nested numbers."""

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from psap.analysis.results import Results

CELL = ["model", "init", "method", "target"]
TIMING = ["latency_ratio_mean", "seconds_mean"]  # the last columns of the summary
HEADINGS = [
    "Model",
    "Init",
    "Target",
    "Method",
    "n",
    "Top-1 last",
    "Drop",
    "Top-1 best",
    "Mult-adds",
    "Params",
    "Latency",
]
LATENCY_ERROR = 0.05
LATENCY_NOTE = (
    "latency relative to the dense network (a dash where the dense network measured against itself was more than "
    f"{100 * LATENCY_ERROR:g} % off: the machine was busy; `psap bench latency` measures it alone)"
)
NOTE = (
    "Top-1 in % at the last epoch, mean ± sample standard deviation over n seeds; drop in points from the "
    "dense network of the same seed; multiply-adds and parameters counted on the compact network; "
    f"{LATENCY_NOTE}. Bold: highest mean of a model, init and target."
)
NOTE_DIVERGED = "Runs that diverged are in no mean; n says how many there are."
METRICS = ["top1_last_mean", "drop_mean", "top1_best_mean", "macs_reduction_mean", "params_reduction_mean"]


def summarise(results: Results) -> pd.DataFrame:
    """Means and sample standard deviations over seeds, in the suite's order: dense, then by init and target.

    `n` runs are in them, and `diverged` more are in none. The columns in TIMING stand last.
    """
    suite, rows = results.suite, results.rows
    rows = rows.assign(latency_ratio=latency_ratios(rows))
    table = rows.groupby(CELL, as_index=False).agg(
        n=("seed", "size"),
        top1_last_mean=("top1_last", "mean"),
        top1_last_std=("top1_last", "std"),
        dense_top1_mean=("dense_top1", "mean"),
        drop_mean=("drop", "mean"),
        drop_std=("drop", "std"),
        top1_best_mean=("top1_best", "mean"),
        top5_last_mean=("top5_last", "mean"),
        macs_reduction_mean=("macs_reduction", "mean"),
        params_reduction_mean=("params_reduction", "mean"),
        latency_ratio_mean=("latency_ratio", "mean"),
        seconds_mean=("seconds", "mean"),
    )
    counts = results.cells.groupby(CELL, as_index=False).agg(diverged=("diverged", "sum"))
    table = counts.merge(table, on=CELL, how="left")
    table = table[[*CELL, "n", "diverged", *table.columns.drop([*CELL, "n", "diverged"])]].fillna({"n": 0})
    table = table.astype({"n": int, "diverged": int})
    order = {"model": suite.models, "init": ["", *suite.inits], "method": ["dense", *suite.all_methods]}
    ranks = {column: {name: rank for rank, name in enumerate(names)} for column, names in order.items()}
    return table.round(6).sort_values(
        ["model", "init", "target", "method"],
        key=lambda values: values.map(ranks[str(values.name)]) if values.name in ranks else values,
        ignore_index=True,
    )


def latency_ratios(rows: pd.DataFrame) -> "pd.Series[float]":
    """Each run's latency over that of the dense network; none for a model whose times say nothing.

    A dense run times its network against one of the same shape. Where the two differ by more than LATENCY_ERROR, in any
    of a model's dense runs, something else used the machine meanwhile, and the other runs' times are no better.
    """
    ratios = rows["latency_ms"] / rows["latency_dense_ms"]
    itself = ratios.where(rows["method"] == "dense").groupby(rows["model"])
    steady = (itself.transform("max") <= 1 + LATENCY_ERROR) & (itself.transform("min") >= 1 - LATENCY_ERROR)
    return ratios.where(steady)


def best(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a row has the highest last-epoch mean of the methods with its model, init and target."""
    cells = table.groupby(["model", "init", "target"])["top1_last_mean"]
    return (table["top1_last_mean"] == cells.transform("max")) & (cells.transform("count") > 1)


def metrics(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The table as nested numbers: {"resnet8_scratch_psap_50": {"drop_mean": ...}, ...}; no key has a dot."""
    return {
        metric_key(row): {name: row[name] for name in METRICS if pd.notna(row[name])}
        | ({"diverged": row["diverged"]} if row["diverged"] else {})
        for row in table.to_dict("records")
    }


def metric_key(row: dict[Any, Any]) -> str:
    """The cell's name in metrics.json; the target is a percentage."""
    cell = [row["model"], "dense"] if row["method"] == "dense" else [row["model"], row["init"], row["method"]]
    percent = [] if row["method"] == "dense" else [f"{100 * row['target']:g}"]
    return re.sub("[.:]", "_", "_".join(cell + percent))


def markdown(table: pd.DataFrame) -> str:
    """The table for people, in Markdown; the best mean of a model, init and target in bold."""
    lines = [HEADINGS, ["---"] * 4 + ["--:"] * 7, *_cells(table, "**{}**".format, str)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n" + _note(table) + "\n"


def latex(table: pd.DataFrame) -> str:
    """The table for people, in LaTeX (needs the booktabs package)."""
    lines = [HEADINGS, *_cells(table, r"\textbf{{{}}}".format, _escape)]
    body = [" & ".join(line) + r" \\" for line in lines]
    head = [r"\begin{tabular}{llrlrrrrrrr}", r"\toprule", body[0], r"\midrule"]
    return "\n".join([*head, *body[1:], r"\bottomrule", r"\end{tabular}", f"% {_escape(_note(table))}"]) + "\n"


def _note(table: pd.DataFrame) -> str:
    return f"{NOTE} {NOTE_DIVERGED}" if table["diverged"].any() else NOTE


def lost(row: dict[Any, Any]) -> str:
    """How many runs of a cell diverged, in words; "" if none did."""
    return f"{row['diverged']} of {row['n'] + row['diverged']} diverged" if row["diverged"] else ""


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number for people: true minus sign, a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def spread(mean: float, std: float | None) -> str:
    """`mean ± sample standard deviation`, or the mean alone where one seed gives no deviation."""
    return number(mean) if std is None or pd.isna(std) else f"{number(mean)} ± {number(std)}"


def _cells(table: pd.DataFrame, bold: Callable[[str], str], escape: Callable[[str], str]) -> list[list[str]]:
    lines = []
    for row, is_best in zip(table.to_dict("records"), best(table), strict=True):
        top1 = spread(row["top1_last_mean"], row["top1_last_std"])
        pruned = row["method"] != "dense"
        cells = [
            row["model"],
            row["init"] or "–",
            f"{100 * row['target']:g} %" if pruned else "–",
            row["method"],
        ]
        cells += [
            f"{row['n']} ({lost(row)})" if lost(row) else str(row["n"]),
            top1,
            number(row["drop_mean"]) if pruned else "–",
            number(row["top1_best_mean"]),
        ]
        for share in (row["macs_reduction_mean"], row["params_reduction_mean"]):
            cells.append(f"{number(-100 * share, 1)} %" if pruned and row["n"] else "–")
        cells.append(f"{number(row['latency_ratio_mean'])} ×" if pd.notna(row["latency_ratio_mean"]) else "–")
        cells = [escape(cell) for cell in cells]
        cells[5] = bold(cells[5]) if is_best else cells[5]
        lines.append(cells)
    return lines


def _escape(text: str) -> str:
    codes = {
        "&": r"\&",
        "#": r"\#",
        "_": r"\_",
        "%": r"\%",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
        "–": "--",
    }
    return "".join(codes.get(character, character) for character in text)
