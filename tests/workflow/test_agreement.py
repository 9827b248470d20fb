"""Results agree with the committed ones where they differ as seeds do, and with nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from psap.suites.row import Cost, Provenance, Result, Row
from psap.workflow.agreement import Agreement, Pair

METHODS = ("psap", "l1", "sfp")
TOP1 = st.floats(20, 90)
# Top-1 of two seeds by method and target; in no method they are the same.
CELLS = st.fixed_dictionaries({(m, t): st.tuples(TOP1, st.floats(0.1, 10)) for m in METHODS for t in (0.5, 0.8)})


def row(method: str, target: float, seed: int, top1: float, **origin: str) -> Row:
    counts = dict.fromkeys(("macs", "macs_dense", "params", "params_dense"), 1)
    shares = dict.fromkeys(("dense_top1", "drop", "macs_reduction", "params_reduction"), 0.0)
    return Row(
        run=f"s/{method}/{target}/seed{seed}",
        suite="s",
        model="m",
        init="scratch",
        method=method,
        target=target,
        seed=seed,
        hash="h",
        config={},
        result=Result.model_validate({"top1_last": top1} | counts | shares),
        cost=Cost(),
        provenance=Provenance.model_validate(
            {
                "code": "c",
                "data": "d",
                "versions": {},
                "commit": "",
                "dirty": None,
                "hardware": "",
                "device": "cpu",
                "finished": "2026-01-01T00:00:00+00:00",
            }
            | origin
        ),
    )


def agreement(before: list[Row], now: list[Row]) -> Agreement:
    return Agreement("s", [Pair(a, b, False, a == b) for a, b in zip(before, now, strict=True)], 0, {})


def rows(cells: dict[tuple[str, float], tuple[float, float]], first: int, second: int, shift: float = 0.0) -> list[Row]:
    return [
        row(method, target, seed, (top1, top1 + by)[place] + shift)
        for (method, target), (top1, by) in cells.items()
        for seed, place in enumerate((first, second))
    ]


@given(CELLS)
def test_seeds_that_change_places_agree(cells: dict[tuple[str, float], tuple[float, float]]) -> None:
    assert not agreement(rows(cells, 0, 1), rows(cells, 1, 0)).against


@given(CELLS)
def test_more_than_seeds_does_not_agree(cells: dict[tuple[str, float], tuple[float, float]]) -> None:
    before = rows(cells, 0, 1)
    widest = max(agreement(before, before).spreads.values())
    assert agreement(before, rows(cells, 0, 1, 2.1 * widest)).against == ["top-1 differs by more than seeds do"]
    assert not agreement(before, rows(cells, 0, 1, 1.9 * min(agreement(before, before).spreads.values()))).against


def test_a_method_with_a_narrow_spread_is_not_hidden_by_a_wide_one() -> None:
    cells = {("psap", 0.5): (90.0, 0.5), ("l1", 0.5): (89.0, 0.5), ("sfp", 0.5): (40.0, 30.0)}
    before = rows(cells, 0, 1)
    tops = [(r, r.result.top1_last - 4 * (r.method == "psap")) for r in before if r.result]
    worse = [row(r.method, r.target, r.seed, top1) for r, top1 in tops]
    assert agreement(before, worse).against == ["top-1 differs by more than seeds do"]


def test_one_seed_agrees_with_its_own_bits_only() -> None:
    one = [row("psap", 0.5, 0, 90.0)]
    assert not agreement(one, one).against
    assert agreement(one, [row("psap", 0.5, 0, 90.01)]).against == ["top-1 differs by more than seeds do"]


def test_other_data_or_verdicts_do_not_agree() -> None:
    one = [row("psap", 0.5, 0, 90.0)]
    other = [row("psap", 0.5, 0, 90.0, data="e")]
    found = agreement(one, other)
    assert found.against[0] == "runs with other settings or data: 1"
    judged = Agreement(
        "s", [Pair(one[0], one[0], False, True)], 1, {"C1": ("holds", "fails"), "C2": ("holds", "holds")}
    )
    assert judged.against == ["runs without a committed row: 1", "verdicts differ"]
    assert judged.told() == (
        "s: 2 runs. 1 of 1 rows are bit-equal to the committed ones. The committed rows were made on a processor that "
        "was not recorded; these on a processor that was not recorded. 1 of 2 verdicts are equal."
    )
