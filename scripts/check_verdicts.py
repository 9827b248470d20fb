"""Do verdicts find what is there, and only that? python scripts/check_verdicts.py results/cifar10-cpu-v1

Swaps the labels of two methods at random, seed by seed, on a suite's committed rows: what difference there was is gone.
Counts in how many draws the verdict is equivalent or inconclusive; then plants an effect, and counts how often it is
found. Exit code 1 where these are fewer than the rules promise (1 - alpha; power).
"""

import argparse
import sys
from pathlib import Path

from psap.analysis.control import check
from psap.analysis.results import collect
from psap.analysis.rules import RULES_FILE, load


def main() -> None:
    parser = argparse.ArgumentParser(description="A negative control and a planted effect, on committed rows.")
    parser.add_argument("folder", type=Path, help="results/<suite>")
    parser.add_argument("--methods", nargs=2, metavar=("ONE", "OTHER"), help="The suite's method and hard pruning.")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--plant", type=float, default=1.0, help="Points of top-1.")
    options = parser.parse_args()
    rules = load(Path("params") / RULES_FILE)
    results = collect(options.folder, rules)
    claims = results.suite.claims
    found = check(results, options.methods or (claims.method, claims.hard), options.draws, options.plant)
    print(found.told())
    sys.exit(found.quiet < (1 - rules.alpha) * found.draws or found.found < rules.power * found.draws)


if __name__ == "__main__":
    main()
