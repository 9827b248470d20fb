import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from fixture_types import Build
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from psap.analysis.claims import judge
from psap.analysis.comparisons import MACS_POINTS
from psap.analysis.contrasts import reduction_at
from psap.analysis.results import collect
from psap.utils.mappings import JsonObject

Top1 = Callable[[str, str, str, float, int], float]
BASE = 80.0


class Verdicts(Protocol):
    """Verdicts by claim on a suite that has the accuracies `top1` gives."""

    def __call__(self, top1: Top1, **suite: Any) -> dict[str, JsonObject]: ...


@pytest.fixture
def verdicts(tmp_path: Path, build: Build) -> Verdicts:
    """Verdicts by claim on a suite whose accuracies a function gives; by default one init, one target."""

    def run(top1: Top1, **suite: Any) -> dict[str, JsonObject]:
        grid = {"inits": ["pretrained"], "targets": [0.5], "methods": ["psap", "psap_soft", "sfp", "l1"]}
        grid |= {"epochs": 2, "groups": {"conv": 4}} | suite
        root = build(tmp_path / str(len(list(tmp_path.iterdir()))), top1=top1, dense=lambda model, seed: BASE, **grid)
        return {verdict["id"]: verdict for verdict in judge(collect(root))}

    return run


def lead(**leads: list[float]) -> Top1:
    """Accuracies in which psap leads the named methods by so much, seed by seed, on top of noise that seeds share."""
    return lambda model, init, method, target, seed: BASE + 7.3 * seed - leads.get(method, [0.0] * 9)[seed]


def test_interval_by_hand_and_supported(verdicts: Verdicts) -> None:
    claim = verdicts(lead(psap_soft=[1.0, 1.1, 0.9]))["S3"]
    [comparison] = claim["comparisons"]
    # Mean 1, sample deviation 0.1, t(0.975, 2) = 4.302653: half a width of 4.302653 * 0.1 / sqrt 3 = 0.248414.
    assert comparison["effect"] == pytest.approx(1.0)
    assert (comparison["low"], comparison["high"]) == pytest.approx((0.751586, 1.248414), abs=1e-6)
    assert comparison["p"] == pytest.approx(stats.ttest_1samp([1.0, 1.1, 0.9], 0).pvalue)
    assert comparison["p_holm"] == comparison["p"] == claim["p"]
    assert comparison["std"] == pytest.approx(0.1) and comparison["p_equal"] > 0.95
    assert (claim["verdict"], claim["n"], comparison["baseline"]) == ("supported", 3, "psap_soft")
    assert claim["reason"] == "More than psap_soft."


EQUAL = "Equal to psap_soft to within 0.5 percentage points of top-1."


@pytest.mark.parametrize(
    ("leads", "verdict", "reason"),
    [
        ([-1.0, -1.1, -0.9], "not supported", "Less than psap_soft."),
        ([1.0, 3.0, -1.0], "inconclusive", "Neither a difference nor equivalence shown against psap_soft."),
        ([0.0, 0.0, 0.0], "equivalent", EQUAL),
        ([0.1, -0.1, 0.05], "equivalent", EQUAL),
        ([0.1, 0.11, 0.09], "equivalent", f"{EQUAL} A smaller difference is shown: more than psap_soft by 0.10."),
        ([-0.1, -0.11, -0.09], "equivalent", f"{EQUAL} A smaller difference is shown: less than psap_soft by 0.10."),
        ([0.6, 0.61, 0.59], "supported", "More than psap_soft."),
        ([1.0, 1.1], "inconclusive", "2 seeds against psap_soft: at least 3 are needed."),
        ([1.0], "inconclusive", "1 seed against psap_soft: at least 3 are needed."),
    ],
)
def test_verdicts_against_one_method(verdicts: Verdicts, leads: list[float], verdict: str, reason: str) -> None:
    claim = verdicts(lead(psap_soft=leads), seeds=len(leads))["S3"]
    assert (claim["verdict"], claim["reason"]) == (verdict, reason)


def test_two_seeds_never_suffice_even_against_every_baseline(verdicts: Verdicts) -> None:
    claim = verdicts(lead(sfp=[5.0, 5.001], l1=[5.0, 5.001]), seeds=2)["S5a"]
    assert claim["verdict"] == "inconclusive"
    assert all(c["low"] > 0 and c["p_holm"] < 0.05 and c["verdict"] == "inconclusive" for c in claim["comparisons"])


SURE, NOT_SURE, WORSE, SAME = [1.0, 1.1, 0.9], [1.0, -2.0, 3.0], [-1.0, -1.1, -0.9], [0.1, -0.1, 0.0]
LITTLE_WORSE = [-0.1, -0.11, -0.09]


@pytest.mark.parametrize(
    ("sfp", "l1", "verdict"),
    [
        (SURE, SURE, "supported"),
        (SURE, NOT_SURE, "inconclusive"),
        (SURE, WORSE, "not supported"),
        (NOT_SURE, WORSE, "not supported"),
        (SAME, WORSE, "not supported"),
        (SAME, SURE, "equivalent"),
        (SAME, NOT_SURE, "equivalent"),
        (LITTLE_WORSE, SURE, "equivalent"),
    ],
)
def test_verdicts_against_baselines(verdicts: Verdicts, sfp: list[float], l1: list[float], verdict: str) -> None:
    assert verdicts(lead(sfp=sfp, l1=l1))["S5a"]["verdict"] == verdict


BARELY = [1.0, 1.4, 0.68]  # p = 0.043


def test_who_is_better_than_all_needs_no_correction_over_them(verdicts: Verdicts) -> None:
    claim = verdicts(lead(sfp=BARELY, l1=BARELY))["S5a"]
    for comparison in claim["comparisons"]:
        assert comparison["low"] > 0 and comparison["verdict"] == "inconclusive"
        assert comparison["p"] < 0.05 < comparison["p_holm"] == pytest.approx(2 * comparison["p"])
    assert claim["verdict"] == "supported"
    assert claim["p"] == max(comparison["p"] for comparison in claim["comparisons"])


def test_who_is_worse_than_one_of_several_does(verdicts: Verdicts) -> None:
    worse = [-value for value in BARELY]
    claim = verdicts(lead(sfp=worse, l1=NOT_SURE))["S5a"]
    assert claim["verdict"] == "inconclusive" and claim["comparisons"][0]["p"] < 0.05
    assert claim["p"] == pytest.approx(2 * claim["comparisons"][0]["p"])


def test_claims_of_a_level_are_corrected_for_one_another(verdicts: Verdicts) -> None:
    """S3 alone would be shown; beside S3b and S2, which show nothing, it is not."""
    alone = verdicts(lead(psap_soft=BARELY))["S3"]
    methods = ["psap", "psap_soft", "psap_hard", "psap_uniform"]
    among = verdicts(lead(psap_soft=BARELY, psap_hard=NOT_SURE, psap_uniform=NOT_SURE), methods=methods)["S3"]
    assert (alone["verdict"], among["verdict"]) == ("supported", "inconclusive")
    assert among["p"] == pytest.approx(3 * alone["p"])
    assert "though" not in among["reason"] and "after correction over the level's claims" in among["reason"]


def test_what_could_have_been_seen_stands_beside(verdicts: Verdicts) -> None:
    claim = verdicts(lead(psap_soft=[1.0, 3.0, -1.0]))["S3"]
    [comparison] = claim["comparisons"]
    assert comparison["std"] == pytest.approx(2.0)
    assert claim["visible"] == comparison["visible"] == pytest.approx(TTestPower().solve_power(
        None, 3, 0.05, 0.8) * 2.0, rel=1e-4)  # fmt: skip
    assert claim["seeds_needed"] == {"difference": 128, "equivalence": 139}


def test_the_method_and_its_ablations_are_no_baselines(verdicts: Verdicts) -> None:
    ours = ["psap", "psap_soft", "psap_hard", "psap_uniform", "psap_plain"]
    claims = verdicts(lead(), methods=[*ours, "sfp", "retrained"])
    assert [c["baseline"] for c in claims["S5a"]["comparisons"]] == ["sfp", "retrained"]
    assert [c["baseline"] for c in claims["S2"]["comparisons"]] == ["psap_uniform"]
    assert [c["baseline"] for c in claims["S3"]["comparisons"]] == ["psap_soft"]
    assert [c["baseline"] for c in claims["S3b"]["comparisons"]] == ["psap_hard"]


def test_a_seed_is_one_number_averaged_over_its_cells(verdicts: Verdicts) -> None:
    rng = np.random.default_rng(3)
    table = {(m, i, t, s): BASE + round(float(rng.normal()), 3) for m in ("psap", "psap_soft", "sfp", "l1")
             for i in ("pretrained", "scratch") for t in (0.5, 0.8) for s in range(4)}  # fmt: skip
    top1 = lambda model, init, method, target, seed: table[method, init, target, seed]  # noqa: E731
    claims = verdicts(top1, inits=["pretrained", "scratch"], targets=[0.5, 0.8], seeds=4)

    def seeds(other: str, weight: Callable[[str, float], float]) -> list[float]:
        cells = [(i, t) for i in ("pretrained", "scratch") for t in (0.5, 0.8)]
        return [
            sum(weight(i, t) * (table["psap", i, t, s] - table[other, i, t, s]) for i, t in cells) for s in range(4)
        ]

    weights = {
        "S5a": lambda i, t: 1 / 4,
        "S5c": lambda i, t: (t == 0.8) / 2,
        "S5d": lambda i, t: (i == "scratch") / 2,
        "S5e": lambda i, t: 1 / 2 if t == 0.8 else -1 / 2,
        "S5f": lambda i, t: 1 / 2 if i == "scratch" else -1 / 2,
    }
    for claim, weight in weights.items():
        for comparison in claims[claim]["comparisons"]:
            reference = stats.ttest_1samp(seeds(comparison["baseline"], weight), 0)
            assert comparison["effect"] == pytest.approx(np.mean(seeds(comparison["baseline"], weight)), abs=1e-8)
            assert comparison["p"] == pytest.approx(reference.pvalue, abs=1e-6)
            interval = tuple(reference.confidence_interval(0.95))
            assert (comparison["low"], comparison["high"]) == pytest.approx(interval, abs=1e-6)


def test_cells_that_one_method_lacks_are_left_out_of_its_pairs(verdicts: Verdicts) -> None:
    leads = {(0.5, 0): 1.0, (0.5, 1): 1.1, (0.5, 2): 0.9, (0.8, 0): 3.0, (0.8, 1): 3.1, (0.8, 2): 70.0}
    top1 = lambda model, init, method, target, seed: BASE - (method == "sfp") * leads[target, seed]  # noqa: E731
    claim = verdicts(top1, targets=[0.5, 0.8], methods=["psap", "sfp"], absent=lambda p: p.endswith("psap/0.8/seed2"))
    comparison = claim["S5a"]["comparisons"][0]
    assert comparison["effect"] == pytest.approx(np.mean([2.0, 2.1, 0.9]))
    assert claim["S5a"]["reason"].endswith("Not every seed has every cell yet.")


def test_a_seed_without_a_pair_does_not_count(verdicts: Verdicts) -> None:
    claims = verdicts(lead(sfp=SURE, l1=SURE), absent=lambda path: "sfp" in path and "seed1" in path)
    by_name = {comparison["baseline"]: comparison for comparison in claims["S5a"]["comparisons"]}
    assert (by_name["sfp"]["n"], by_name["l1"]["n"], claims["S5a"]["n"]) == (2, 3, 2)
    assert by_name["l1"]["verdict"] == "supported"
    assert claims["S5a"]["reason"] == "2 seeds against sfp: at least 3 are needed."


def test_a_baseline_without_any_pair_leaves_the_claim_open(verdicts: Verdicts) -> None:
    claim = verdicts(lead(sfp=SURE), absent=lambda path: "/l1/" in path)["S5a"]
    assert [c["verdict"] for c in claim["comparisons"]] == ["supported", "inconclusive"]
    assert claim["verdict"] == "inconclusive"
    assert claim["reason"] == "No pair of runs against l1 is committed yet."


def test_compression_by_hand(verdicts: Verdicts) -> None:
    """One point below dense lies on the line from dense (or the target before) to the first target beyond."""
    drops = {"psap": (0.5, 2.5), "sfp": (2.0, 4.0), "l1": (1.0, 1.5)}

    def top1(model: str, init: str, method: str, target: float, seed: int) -> float:
        return BASE - drops[method][target == 0.8]

    claim = verdicts(top1, targets=[0.5, 0.8], methods=["psap", "sfp", "l1"])["S5b"]
    sfp, l1 = claim["comparisons"]
    # The counted reduction of the synthetic runs is the target plus 0.3 points.
    psap = 50.3 + 30 * 0.25
    assert sfp["effect"] == pytest.approx(psap - 50.3 / 2)
    assert l1["effect"] == pytest.approx(psap - 50.3)
    assert (sfp["unit"], sfp["smallest_effect"], claim["verdict"]) == (MACS_POINTS, 2.0, "supported")


def test_compression_is_told_only_where_both_fall_so_far(verdicts: Verdicts) -> None:
    """psap of seed 1 never loses a point; of l1 no seed does."""
    lost = {"psap": [2.0, 0.9, 2.0, 2.0], "sfp": [4.0] * 4, "l1": [0.5] * 4}
    top1 = lambda model, init, method, target, seed: BASE - lost[method][seed]  # noqa: E731
    claim = verdicts(top1, methods=["psap", "sfp", "l1"], seeds=4)["S5b"]
    sfp, l1 = claim["comparisons"]
    assert (sfp["n"], sfp["unbracketed"], l1["n"], l1["unbracketed"]) == (3, 1, 0, 4)
    assert claim["reason"].endswith(
        "Seeds and inits left out, since a method never falls so far: 1 against sfp, 4 against l1."
    )
    nowhere = verdicts(lambda *cell: BASE, methods=["psap", "sfp"])["S5b"]
    assert (nowhere["verdict"], nowhere["comparisons"][0]["n"]) == ("not tested", 0)
    assert nowhere["reason"].startswith("At no target does a method lose more than 1 points, or one alone does.")


def test_compression_looks_at_targets_that_both_have(verdicts: Verdicts) -> None:
    top1 = lambda model, init, method, target, seed: BASE - 2 * target  # noqa: E731
    claim = verdicts(top1, targets=[0.6, 0.8], methods=["psap", "sfp"], absent=lambda path: "sfp/0.8" in path)["S5b"]
    assert claim["comparisons"][0]["effect"] == 0.0


POINT = st.tuples(st.floats(0.01, 0.99), st.floats(-3, 5))


@given(st.lists(POINT, min_size=1, max_size=5, unique_by=lambda at: round(at[0], 6)))
def test_the_reduction_found_has_the_drop(points: list[tuple[float, float]]) -> None:
    x, y = zip(*sorted(points), strict=True)
    found = reduction_at(x[::-1], y[::-1], 1.0)
    assert (found is None) == (max(y) <= 1.0 + 1e-9)
    if found is not None:
        assert np.interp(found, [0.0, *x], [0.0, *y]) == pytest.approx(1.0, abs=1e-6)
        assert all(drop <= 1.0 + 1e-9 for at, drop in points if at < found - 1e-9)


def test_differences_that_cancel_are_no_difference(verdicts: Verdicts) -> None:
    """Two leads of 0.1 and one of -0.2 leave -5e-15 in floating point, which must not pass for a sure effect."""
    leads = {0.3: 0.1, 0.5: 0.1, 0.7: -0.2}
    top1 = lambda model, init, method, target, seed: BASE - (method == "psap_soft") * leads[target]  # noqa: E731
    claim = verdicts(top1, targets=[0.3, 0.5, 0.7])["S3"]
    assert (claim["verdict"], claim["comparisons"][0]["effect"]) == ("equivalent", 0.0)


@pytest.mark.parametrize(
    ("suite", "claim", "reason"),
    [
        ({}, "S5c", "The suite has no target of 80 % or more."),
        ({}, "S5d", "The suite has no run from scratch."),
        ({}, "S5e", "The suite does not have targets on both sides of 80 %."),
        ({}, "S5f", "The suite does not prune both from scratch and from a pretrained network."),
        ({}, "S2", "The suite runs nothing to compare with (adaptivity)."),
        ({}, "S3b", "The suite runs nothing to compare with (hard)."),
        ({"methods": ["sfp", "l1"]}, "S5a", "The suite does not run psap."),
        ({"absent": lambda path: "sfp" in path or "l1" in path}, "S5a", "No pair of runs is committed yet."),
    ],
)
def test_what_cannot_be_tested_says_why(verdicts: Verdicts, suite: dict[str, Any], claim: str, reason: str) -> None:
    verdict = verdicts(lead(), **suite)[claim]
    assert (verdict["verdict"], verdict["reason"], verdict["n"]) == ("not tested", reason, 0)


def test_cells_interaction_and_json(verdicts: Verdicts) -> None:
    leads = {0.5: [1.0, 1.1, 0.9], 0.8: [2.0, 2.2, 2.1]}
    top1 = lambda model, init, method, target, seed: BASE - (method == "sfp") * leads[target][seed]  # noqa: E731
    claims = verdicts(top1, targets=[0.5, 0.8], methods=["psap", "sfp"])
    [comparison] = claims["S5a"]["comparisons"]
    assert [(cell["init"], cell["target"]) for cell in comparison["cells"]] == [
        ("pretrained", 0.5),
        ("pretrained", 0.8),
    ]
    for cell, values in zip(comparison["cells"], leads.values(), strict=True):
        reference = stats.ttest_1samp(values, 0)
        assert (cell["n"], cell["effect"], cell["p"]) == (
            3,
            pytest.approx(np.mean(values)),
            pytest.approx(reference.pvalue),
        )
        assert cell["p_holm"] >= cell["p"] and cell["visible"] > 0
    between = comparison["interaction"]
    assert (between["cell"], between["minus"]) == (["resnet8", "pretrained", 0.8], ["resnet8", "pretrained", 0.5])
    assert between["effect"] == pytest.approx(1.1) and between["p_holm"] == between["p"]
    assert between["p"] == pytest.approx(stats.ttest_rel(leads[0.8], leads[0.5]).pvalue)
    assert [cell["effect"] for cell in claims["S5e"]["comparisons"][0]["cells"]] == [pytest.approx(1.1)]
    assert json.loads(json.dumps(claims, allow_nan=False)) == claims
    one = verdicts(top1, targets=[0.5, 0.8], methods=["psap", "sfp"], seeds=1)["S5a"]["comparisons"][0]
    assert one["low"] is one["visible"] is one["interaction"] is None
