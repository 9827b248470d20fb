"""Verdicts find what is there, and only that: simulated, with eight seeds at a spread that the power analysis takes."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_types import Build

from psap.analysis.claims import judge
from psap.analysis.control import check
from psap.analysis.results import Results, collect
from psap.analysis.rules import Rules
from psap.analysis.statistics import estimate
from psap.analysis.verdicts import EQUIVALENT, OPEN, SUPPORTED, correct, settle
from psap.errors import PsapError

RULES, SEEDS, DRAWS = Rules(), 8, 200


def suite(folder: Path, build: Build, spread: float) -> Results:
    """Two methods that are equal, and whose difference spreads by `spread` between seeds."""
    draws = np.random.default_rng(7).normal(0, spread, 99)
    draws = draws[:SEEDS] / np.sqrt(np.mean(draws[:SEEDS] ** 2)) * spread
    top1 = lambda model, init, method, target, seed: 80 + seed + (method == "psap") * draws[seed]  # noqa: E731
    grid: dict[str, Any] = {"methods": ["psap", "psap_hard", "l1"], "inits": ["pretrained"], "targets": [0.8]}
    grid |= {"epochs": 2, "groups": {"conv": 4}, "top1": top1, "seeds": SEEDS, "dense": lambda model, seed: 90.0}
    return collect(build(folder, **grid))


@pytest.mark.parametrize("spread", [0.3, 0.5])
def test_swapped_labels_claim_nothing_and_a_planted_point_is_found(tmp_path: Path, build: Build, spread: float) -> None:
    found = check(suite(tmp_path, build, spread), ("psap", "psap_hard"))
    assert found.draws == 100 and found.quiet >= 95 and found.found >= 80, found.told()
    assert found.seeds == SEEDS and found.spread == pytest.approx(spread, rel=0.15)
    again = check(suite(tmp_path / "again", build, spread), ("psap", "psap_hard"))
    assert again == found


def test_a_pair_that_is_not_there_is_told(tmp_path: Path, build: Build) -> None:
    with pytest.raises(PsapError, match="toy has no pair of runs of psap and nobody"):
        check(suite(tmp_path, build, 0.5), ("psap", "nobody"), draws=1)


def level(generator: np.random.Generator, effects: list[list[float]], spread: float) -> list[dict[str, Any]]:
    """Claims with the true effects given, one for each of their baselines."""
    claims = []
    for baselines in effects:
        comparisons = []
        for place, effect in enumerate(baselines):
            found = estimate(generator.normal(effect, spread, SEEDS).tolist(), 0.5)
            told = {"baseline": str(place), "diverged": 0, "unit": "points", "smallest_effect": 0.5, "n": found.n}
            comparisons.append(told | {"effect": found.mean, "p": found.p, "p_equal": found.p_equal})
        correct(comparisons, RULES)
        claims.append({"comparisons": comparisons})
    settle(claims, RULES)
    return claims


@pytest.mark.parametrize("effects", [[[0.0]] * 3, [[0.0] * 3] * 3, [[0.0]] * 2 + [[3.0]]])
def test_without_an_effect_a_level_seldom_claims_one(effects: list[list[float]]) -> None:
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(DRAWS):
        claims = level(generator, effects, 0.5)
        null = [claim for claim, true in zip(claims, effects, strict=True) if not any(true)]
        wrong += any(claim["verdict"] not in (EQUIVALENT, OPEN) for claim in null)
    assert wrong <= 0.05 * DRAWS + 2 * np.sqrt(0.05 * 0.95 * DRAWS)


@pytest.mark.parametrize("effects", [[[0.5]] * 3, [[0.5, -0.5, 0.5]] * 2, [[-0.5]] * 3])
def test_an_effect_that_matters_seldom_passes_for_equality(effects: list[list[float]]) -> None:
    generator = np.random.default_rng(2)
    wrong = sum(any(c["verdict"] == EQUIVALENT for c in level(generator, effects, 0.3)) for _ in range(DRAWS))
    assert wrong <= 0.05 * DRAWS + 2 * np.sqrt(0.05 * 0.95 * DRAWS)


def test_a_point_is_found_by_a_claim_among_three(tmp_path: Path, build: Build) -> None:
    generator = np.random.default_rng(3)
    found = sum(level(generator, [[1.0], [0.0], [0.0]], 0.5)[0]["verdict"] == SUPPORTED for _ in range(DRAWS))
    assert found >= 0.8 * DRAWS


def test_the_whole_pipeline_finds_what_is_planted(tmp_path: Path, build: Build) -> None:
    results = suite(tmp_path, build, 0.3)
    results.rows.loc[results.rows["method"] == "psap", "top1_last"] += 1.0
    verdicts = {claim["id"]: claim["verdict"] for claim in judge(results)}
    assert verdicts["S5a"] == verdicts["S5c"] == SUPPORTED


def test_the_script_tells_what_a_suite_can_bear(request: pytest.FixtureRequest) -> None:
    """Three seeds claim nothing that is not there, and are too few to find a point."""
    command = [sys.executable, "scripts/check_verdicts.py", "results/cifar10-cpu-v1"]
    done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.startswith("psap_v1 and psap_v1_hard with labels swapped at random by seed (3 seeds, ")
    quiet, found = (int(number) for number in re.findall(r"(\d+) of 100 (?:verdicts|found)", done.stdout))
    assert quiet >= 95 and found < 80
