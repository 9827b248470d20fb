"""Whether the method did what it is named for: what it protected and gave back, and how its ratios differ."""

import pandas as pd

from psap.analysis.results import Results
from psap.pruning.adaptivity import rank_correlation, spread
from psap.utils.mappings import JsonObject

CELL = ["model", "init", "goal", "method"]
ACTED, VARIATION, CORRELATION = "acted", "variation", "correlation"


def mechanism(results: Results) -> list[JsonObject]:
    """For each model, init, target and method with a protection or adaptive ratios: means over its n runs.

    `acted` is the share of the pruned channels that were protected or given back in a step, the least of all steps but
    the last; `restored` the same of those given back alone; `kept` the channels brought back or spared that are in the
    final network, as a share of its channels; `differs` the share of the final mask that ranking alone would not have
    chosen; `variation` the coefficient of variation over groups of the final ratios, and `correlation` their rank
    correlation with the groups' sensitivity. None is what the rows or the suite do not record. `failed` names the
    bounds that are not met, `unknown` those that cannot be told.
    """
    methods = _with_a_mechanism(results)
    history = results.history[results.history["method"].isin(methods)]
    runs = [_of_run(results, run, methods) for _, run in history.groupby("run")]
    if not runs:
        return []
    rows = pd.DataFrame(runs)
    measured = [column for column in rows if column not in (*CELL, "protects", "adapts")]
    table = rows.groupby(CELL, sort=False)[measured].mean().reset_index()
    counts = rows.groupby(CELL, sort=False).agg(
        n=("acted", "size"), protects=("protects", "any"), adapts=("adapts", "any")
    )
    table = table.merge(counts.reset_index(), on=CELL)
    order = {"method": results.suite.all_methods, "init": results.suite.inits, "model": results.suite.models}
    table = table.sort_values(
        ["model", "init", "goal", "method"],
        key=lambda column: column.map(order[str(column.name)].index) if column.name in order else column,
    )
    found = table.round(6).astype(object).where(table.notna(), None).to_dict("records")
    return [_judged({str(name): value for name, value in row.items()}, results) for row in found]


def summary(results: Results, rows: list[JsonObject]) -> list[str]:
    """What the report begins with: whether the suite's method acts, in sentences; [] where it has no such part."""
    method = results.suite.claims.method
    own = [row for row in rows if row["method"] == method]
    if not own:
        return []
    bounds = results.rules.mechanism
    inert = [row for row in own if row["failed"]]
    unknown = sorted({name for row in own for name in row["unknown"]})
    said = []
    if inert:
        causes = {
            ACTED: f"it protects or restores under {100 * bounds.acted:g} % of the pruned channels in some step",
            VARIATION: f"its ratios are nearly uniform (coefficient of variation under {bounds.variation:g})",
            CORRELATION: f"its ratios do not spare sensitive groups (rank correlation above {bounds.correlation:g})",
        }
        failed = {name for row in inert for name in row["failed"]}
        told = "; ".join(cause for name, cause in causes.items() if name in failed)
        said.append(f"{method} is inert in {len(inert)} of {len(own)} cells of model, init and target: {told}.")
    elif not unknown:
        said.append(
            f"{method} acts in all {len(own)} cells of model, init and target: both mechanisms meet their bounds."
        )
    if unknown:
        words = {ACTED: "what it protected", VARIATION: "its ratios", CORRELATION: "the sensitivity of the groups"}
        said.append(f"Not recorded: {', '.join(words[name] for name in unknown)}.")
    return said


def _with_a_mechanism(results: Results) -> dict[str, tuple[bool, bool]]:
    """The methods that protect, or whose ratios adapt to sparsity: which of the two."""
    found: dict[str, tuple[bool, bool]] = {}
    for run in results.runs:
        parts = run.config.get("method", {})
        two = (parts.get("reconstruction") == "protective", parts.get("allocation") == "sparsity")
        if any(two):
            found[run.method] = two
    return found


def _of_run(results: Results, run: pd.DataFrame, methods: dict[str, tuple[bool, bool]]) -> JsonObject:
    first, last = run.iloc[0], run[run["step"] == run["step"].max()]
    steps = run[run["step"] < run["step"].max()]
    totals = steps.groupby("step")[["pruned", "restored", "protected"]].sum(min_count=1)
    totals = totals[totals["pruned"] > 0]
    protects, adapts = methods[str(first["method"])]
    ratios = last.set_index("group")["ratio"]
    pruned = last["pruned"].sum()
    return {
        **{name: first[name] for name in CELL},
        "protects": protects,
        "adapts": adapts,
        "acted": ((totals["protected"] + totals["restored"]) / totals["pruned"]).min(skipna=False),
        "restored": (totals["restored"] / totals["pruned"]).min(),
        "kept": last["kept"].sum(min_count=1) / last["channels"].sum(),
        "differs": (last["differs"] * last["pruned"]).sum(min_count=1) / pruned if pruned else float("nan"),
        "variation": spread(ratios.tolist()),
        "correlation": _correlation(ratios, results.sensitivity.get(str(first["model"]), {})),
    }


def _correlation(ratios: "pd.Series[float]", sensitivity: dict[str, float]) -> float:
    """Their rank correlation over the groups that both have; nan where these are under three, or there is none."""
    shared = [group for group in ratios.index if group in sensitivity]
    found = rank_correlation(ratios[shared].tolist(), [sensitivity[group] for group in shared])
    return float("nan") if found is None or len(shared) < 3 else found


def _judged(row: JsonObject, results: Results) -> JsonObject:
    bounds = results.rules.mechanism
    wanted = [ACTED] * row["protects"] + [VARIATION, CORRELATION] * row["adapts"]
    met = {
        ACTED: lambda value: value >= bounds.acted,
        VARIATION: lambda value: value >= bounds.variation,
        CORRELATION: lambda value: value <= bounds.correlation,
    }
    known = [name for name in wanted if row[name] is not None]
    row["failed"] = [name for name in known if not met[name](row[name])]
    row["unknown"] = [name for name in wanted if name not in known]
    return row
