"""The method against one other method: over all cells of a claim's scope at once, in each cell, and between cells."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from psap.analysis.contrasts import CELL, VALUES, accuracy, compression
from psap.analysis.images import interval_over_images
from psap.analysis.power import seeds_for_difference, seeds_for_equivalence, visible
from psap.analysis.results import Results
from psap.analysis.rules import Rules
from psap.analysis.statistics import estimate
from psap.utils.mappings import JsonObject

POINTS, MACS_POINTS = "percentage points of top-1", "percentage points of multiply-adds"

Contrast = Callable[[pd.DataFrame, Rules], pd.DataFrame]
Scope = dict[str, list[Any]]


def compare(results: Results, names: tuple[str, str], scope: Scope, contrast: Contrast = accuracy) -> JsonObject:
    """The first method minus the second, ready for JSON; what is undefined is None.

    `cells` tells the same of every cell, `interaction` which two cells differ most in it. `diverged` pairs have no
    difference; `unbracketed` seeds and inits have no compression.
    """
    rules = results.rules
    pairs = _pairs(results.rows, names, scope, [*CELL, *VALUES, "run"])
    lost = len(_pairs(results.cells, names, scope, CELL)) - len(pairs)
    values = contrast(pairs, rules)
    wide = contrast is compression
    margin = rules.smallest_effect.macs if wide else rules.smallest_effect.top1
    images = interval_over_images(results, pairs) if contrast is accuracy else None
    keys = [key for key in CELL[:-1] if key in values.columns]
    return {
        "baseline": names[1],
        "unit": MACS_POINTS if wide else POINTS,
        "smallest_effect": margin,
        **measured(_means(values).tolist(), margin, rules),
        "low_images": images[0] if images else None,
        "high_images": images[1] if images else None,
        "uneven": bool(values.groupby("seed").size().nunique() > 1),
        "diverged": lost,
        "unbracketed": len(pairs.groupby(["model", "init", "seed"])) - len(values) if wide else 0,
        "cells": [
            {**dict(zip(keys, place, strict=True)), **measured(part["value"].tolist(), margin, rules)}
            for place, part in values.groupby(keys)
        ],
        "interaction": _interaction(values, keys, margin, rules),
    }


def by_seed(results: Results, names: tuple[str, str], scope: Scope) -> "pd.Series[float]":
    """The difference of top-1 of each seed, over all cells of `scope`."""
    return _means(accuracy(_pairs(results.rows, names, scope, [*CELL, *VALUES]), results.rules))


def _means(values: pd.DataFrame) -> "pd.Series[float]":
    return values.groupby("seed")["value"].mean()


def measured(values: Sequence[float], margin: float, rules: Rules) -> JsonObject:
    """Effect, interval and p-values of differences by seed, and what so many seeds at their spread can see."""
    if not values:
        nothing = ["effect", "std", "low", "high", "p", "p_equal", "visible", "seeds_needed"]
        return {"n": 0, **dict.fromkeys(nothing)}
    # Rounded, so that differences which cancel give 0 and not 1e-15 with an interval of no width.
    result = estimate([round(value, 9) + 0.0 for value in values], margin, rules.confidence)
    std = result.std
    seen = None if std is None else visible(result.n, std, rules)
    return {
        "n": result.n,
        "effect": result.mean,
        "std": std,
        "low": result.low,
        "high": result.high,
        "p": result.p,
        "p_equal": result.p_equal,
        "visible": None if seen is None else round(seen, 6),
        "seeds_needed": None
        if std is None
        else {
            "difference": seeds_for_difference(margin, std, rules),
            "equivalence": seeds_for_equivalence(margin, std, rules),
        },
    }


def _interaction(values: pd.DataFrame, keys: list[str], margin: float, rules: Rules) -> JsonObject | None:
    """The two cells whose differences differ most surely, by paired tests over seeds with Holm's correction over all
    pairs of cells; None where no two cells share two seeds.
    """
    columns = {place: part.set_index("seed")["value"] for place, part in values.groupby(keys)}
    found: list[JsonObject] = []
    for first, second in combinations(columns, 2):
        shared = (columns[second] - columns[first]).dropna()
        if len(shared) >= max(2, rules.min_seeds):
            result = estimate(shared.round(9).tolist(), margin, rules.confidence)
            effect = {"effect": result.mean, "low": result.low, "high": result.high, "n": result.n, "p": result.p}
            found.append({"cell": list(second), "minus": list(first)} | effect)
    most = min(found, key=lambda pair: pair["p"], default=None)
    return most and most | {"p_holm": min(1.0, len(found) * most["p"])}


def _pairs(rows: pd.DataFrame, names: tuple[str, str], scope: Scope, columns: list[str]) -> pd.DataFrame:
    """The cells of `scope` in which both methods have a row, with the `columns` of either."""
    inside = [rows[name].isin(scope[f"{name}s"]) for name in ("model", "init", "target")]
    rows = rows[inside[0] & inside[1] & inside[2]]
    mine, theirs = (rows.loc[rows["method"] == name, columns] for name in names)
    return mine.merge(theirs, on=CELL)
