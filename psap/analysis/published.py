"""Published rows that stand near ours: the same network, the same data set, about the same reduction."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from psap.analysis.columns import read_columns
from psap.analysis.published_formula import cifar_depth, formula_reduction
from psap.analysis.results import Results, Suite
from psap.errors import PsapError

TOLERANCE = 5.0  # percentage points of multiply-adds
COLUMNS = ["dataset", "model", "method", "mode", "baseline_top1", "pruned_top1", "top1_drop", "flops_reduction_pct"]
COLUMNS += ["source"]
NUMBERS = ["baseline_top1", "pruned_top1", "top1_drop", "flops_reduction_pct"]


def beside(results: Results, table: pd.DataFrame, file: Path) -> list[dict[str, Any]]:
    """For each model and target: our rows of the summary `table`, and the published ones within TOLERANCE of any.

    The method's ablations are left out, as nobody else has published them. Empty where nothing matches. `formula` is
    what the closed formula of SFP and FPGM would call our reduction, where it applies.
    """
    suite = results.suite
    record = _read(file)
    record = record[record["dataset"].map(lambda name: _same_data(name, suite)).astype(bool)]
    own = table[table["method"].isin([suite.claims.method, *suite.baselines])]
    own = own.assign(formula=pd.Series(_by_formula(results, own), own.index, dtype=float))
    sections = []
    for (model, target), ours in own.groupby(["model", "target"], sort=False):
        rows = record[record["model"].map(network) == network(str(model))]
        reductions = 100 * ours["macs_reduction_mean"].to_numpy()
        distances = np.abs(np.subtract.outer(rows["flops_reduction_pct"].to_numpy(), reductions))
        theirs = rows[(distances <= TOLERANCE).any(axis=1)].sort_values(
            ["flops_reduction_pct", "pruned_top1"], kind="stable"
        )
        if not theirs.empty:
            section = {"model": model, "target": target, "ours": ours.to_dict("records")}
            sections.append(section | {"theirs": theirs.to_dict("records")})
    return sections


def _by_formula(results: Results, table: pd.DataFrame) -> list[float]:
    """The formula's reduction for each row: of a CIFAR ResNet all of whose groups lost the same share of filters."""
    uniform = {run.run for run in results.runs if run.config.get("method", {}).get("allocation") == "uniform"}
    history = results.history[results.history["run"].isin(uniform)]
    final = history[history["step"] == history.groupby("run")["step"].transform("max")]
    cells = final.groupby(["model", "init", "method", "goal"])[["pruned", "channels"]].sum()
    rates = (cells["pruned"] / cells["channels"]).to_dict()
    found = []
    for cell in table[["model", "init", "method", "target"]].itertuples(index=False, name=None):
        depth = cifar_depth(cell[0])
        found.append(formula_reduction(depth, rates[cell]) if depth and cell in rates else float("nan"))
    return found


def network(name: str) -> str:
    """The network that a name means, e.g. "resnet20" for "ResNet-20" and resnet20_b, "vgg16" for vgg16_bn."""
    return re.split(r"[._]", name.rpartition(":")[2].lower().replace("-", ""))[0]


def _same_data(dataset: str, suite: Suite) -> bool:
    """Whether the suite's data source or label names `dataset` ("CIFAR-10" is not "CIFAR-100")."""
    words = " ".join(str(suite.data.get(key, "")) for key in ("source", "label"))
    return re.search(rf"\b{re.escape(_joined(dataset))}\b", _joined(words)) is not None


def _joined(words: str) -> str:
    return re.sub(r"[-_](?=\d)", "", words.lower()).replace("_", " ")


def _read(file: Path) -> pd.DataFrame:
    try:
        record = read_columns(file, dict.fromkeys(COLUMNS, str), keep_default_na=False)
    except (FileNotFoundError, ValueError) as error:
        raise PsapError(f"{file}: not a table of published rows ({str(error).splitlines()[0]})") from None
    # A reduction that is published as a bound (">40") stands near nothing.
    return record.assign(**{name: pd.to_numeric(record[name], errors="coerce") for name in NUMBERS})
