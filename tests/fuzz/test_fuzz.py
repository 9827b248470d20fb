"""Whatever psap is given, it ends within seconds: in one line and exit code 2, or right, with a checked result.

PSAP_FUZZ is the number of cases: few by default, and always the same ones; any other number draws new ones each time.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import cases_helpers as cases
import mutations_helpers as mutations
import pytest
from arena_helpers import Case
from calls_helpers import calls
from hypothesis import HealthCheck, Phase, given, seed, settings

Problem = Callable[[Case], str]
PARTS = 4  # of each test, that can be run side by side
KINDS = 4
FEW = int(os.environ.get("PSAP_FUZZ", "120")) // (KINDS * PARTS)
OFTEN = "PSAP_FUZZ" in os.environ
DRAWN = settings(
    max_examples=FEW,
    deadline=None,
    print_blob=True,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),  # a case takes its time, and works in the one project
)
MUTATIONS = {"files": mutations.files, "words": mutations.words, "calls": mutations.calls}
in_parts = pytest.mark.parametrize("part", range(PARTS))


def start(part: int) -> int:
    """Of the random numbers."""
    return random.randrange(2**32) if OFTEN else part


@in_parts
def test_what_once_made_a_program_fail(problem: Problem, part: int) -> None:
    corpus = [*cases.files(), *cases.images(), *cases.words(), *calls()][part::PARTS]
    some = random.Random(start(part)).sample(corpus, min(FEW, len(corpus)))
    found = [said for case in some if (said := problem(case))]
    assert not found, "\n" + "\n".join(found)


@in_parts
@pytest.mark.parametrize("kind", MUTATIONS)
def test_what_nobody_thought_of(problem: Problem, project: Path, kind: str, part: int) -> None:
    @seed(start(part))
    @DRAWN
    @given(MUTATIONS[kind](project))
    def withstood(case: Case) -> None:
        assert problem(case) == ""

    withstood()
