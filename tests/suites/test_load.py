"""Suites and methods as users write them: variants, learning rates of their own, and what a run's identity holds."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from psap.errors import PsapError
from psap.pruning.method import Method
from psap.pruning.parts import make_reconstruction
from psap.suites.grid import Grid, load_grid
from psap.utils.mappings import JsonObject

METHODS = """
sfp: {criterion: l2, allocation: uniform, reconstruction: soft, lr_scale: 0.5, scratch: {lr_scale: 2}}
psap: {criterion: l2}
small: {retrain: psap, lr_scale: 3}
"""
SUITE = """
title: t
data: {source: digits}
models: [resnet8]
variants:
  sfp_late: {base: sfp, schedule: {kind: constant, freeze: 0.9}, scratch: {momentum: keep}}
  own: {criterion: l1, allocation: uniform, reconstruction: hard, schedule: {kind: one_shot, freeze: 0}}
methods:
  pretrained: [sfp, sfp_late, own, psap, small]
  scratch: [sfp, sfp_late]
targets: [0.5]
seeds: [0]
training:
  dense: {epochs: 4, lr: 0.1}
  pretrained: {epochs: 2, lr: 0.02}
  scratch: {epochs: 3, lr: 0.1}
"""


def grid(folder: Path, suite: str = SUITE, methods: str = METHODS) -> Grid:
    (folder / "methods.yaml").write_text(methods)
    (folder / "s.yaml").write_text(suite)
    return load_grid(folder, "s")


def configs(found: Grid) -> dict[tuple[str | None, str], JsonObject]:
    return {(run.init, run.method): run.config.described() for run in found.runs.values()}


def test_a_variant_is_its_base_and_what_differs(tmp_path: Path) -> None:
    found = configs(grid(tmp_path))
    base, late = (found["pretrained", name]["method"] for name in ("sfp", "sfp_late"))
    assert late["schedule"] == base["schedule"] | {"kind": "constant", "freeze": 0.9}
    assert late | {"schedule": 0} == base | {"schedule": 0}
    assert found["scratch", "sfp_late"]["method"] == late | {"momentum": "keep"}
    assert found["pretrained", "own"]["method"]["criterion"] == "l1"


def test_what_is_tuned_takes_the_place_of_the_methods_own_also_in_variants(tmp_path: Path) -> None:
    tuned = "tuned:\n  sfp: {schedule: {freeze: 0.6}, lr_scale: 1, scratch: {schedule: {freeze: 0.5}}}\nvariants:"
    before, after = (configs(grid(tmp_path, suite)) for suite in (SUITE, SUITE.replace("variants:", tuned)))
    freeze = {key: found["method"]["schedule"]["freeze"] for key, found in after.items() if "sfp" in key[1]}
    assert freeze == {
        ("pretrained", "sfp"): 0.6,
        ("pretrained", "sfp_late"): 0.9,
        ("scratch", "sfp"): 0.5,
        ("scratch", "sfp_late"): 0.5,
    }
    assert after["pretrained", "sfp_late"]["training"]["recipe"]["lr"] == 0.02
    assert after["scratch", "sfp"]["training"]["recipe"]["lr"] == 0.2
    assert all(after[key] == found for key, found in before.items() if "sfp" not in key[1])


def test_what_is_tuned_is_a_method(tmp_path: Path) -> None:
    with pytest.raises(PsapError, match=r"tuned\.sfq: unknown method 'sfq'; did you mean 'sfp'"):
        grid(tmp_path, SUITE.replace("variants:", "tuned: {sfq: {lr_scale: 1}}\nvariants:"))
    with pytest.raises(PsapError, match=r"tuned\.sfp: lr_scale: "):
        grid(tmp_path, SUITE.replace("variants:", "tuned: {sfp: {lr_scale: -1}}\nvariants:"))


def test_a_method_scales_the_learning_rate_of_its_suite(tmp_path: Path) -> None:
    rates = {key: config["training"]["recipe"]["lr"] for key, config in configs(grid(tmp_path)).items()}
    assert rates == {
        (None, "dense"): 0.1,
        ("pretrained", "sfp"): 0.01,
        ("pretrained", "sfp_late"): 0.01,
        ("pretrained", "own"): 0.02,
        ("pretrained", "psap"): 0.02,
        ("pretrained", "small"): pytest.approx(0.3),
        ("scratch", "sfp"): 0.2,
        ("scratch", "sfp_late"): 0.2,
    }


def test_a_method_trains_by_a_recipe_of_its_own(tmp_path: Path) -> None:
    taught = SUITE.replace("variants:", "variants:\n  taught: {base: psap, distill: {weight: 0.7}, ema: 0.9}")
    found = configs(grid(tmp_path, taught.replace("own, psap, small", "own, psap, taught, small")))
    plain, own = (found["pretrained", name] for name in ("psap", "taught"))
    more = {"distill": {"weight": 0.7, "temperature": 4.0}, "ema": 0.9}
    assert own["training"]["recipe"] == plain["training"]["recipe"] | more and own["method"] == plain["method"]
    assert found == configs(grid(tmp_path)) | {("pretrained", "taught"): own}


def test_one_rate_is_one_identity_however_it_is_written(tmp_path: Path) -> None:
    scaled = grid(tmp_path).runs["s/resnet8/pretrained/sfp/0.5/seed0"]
    plain = grid(tmp_path, SUITE.replace("lr: 0.02", "lr: 0.01"), METHODS.replace("lr_scale: 0.5, ", ""))
    assert scaled.hash == plain.runs[scaled.path].hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("base: sfp", "base: sfq", "variants.sfp_late.base: unknown method 'sfq'; did you mean 'sfp'?"),
        ("own:", "psap:", "variants.psap: there is a method of this name already; give the variant another"),
        ("freeze: 0.9", "frezee: 0.9", "variants.sfp_late.*frezee"),
        ("criterion: l1", "criterion: l3", "variants.own: criterion: "),
        ("momentum: keep", "momentum: kept", "variants.sfp_late.scratch: momentum: "),
        ("{momentum: keep}", "3", "variants.sfp_late.scratch: must be a mapping"),
        (
            "base: sfp,",
            "base: sfp, distill: {},",
            "methods.scratch: sfp_late distills from .* `scratch: {distill: null}`",
        ),
        ("base: sfp,", "base: sfp, ema: 1,", "variants.sfp_late.*: ema: Input should be less than 1"),
        ("epochs: 4,", "epochs: 4, distill: {},", "training: distill belongs to the recipe `pretrained`"),
    ],
)
def test_a_wrong_variant_is_one_line_that_names_it(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(PsapError, match=message) as error:
        grid(tmp_path, SUITE.replace(old, new))
    assert "s.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_scale_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PsapError, match=r"methods.yaml: sfp: lr_scale: "):
        grid(tmp_path, methods=METHODS.replace("lr_scale: 0.5", "lr_scale: 0"))


@given(
    st.fixed_dictionaries(
        {
            "criterion": st.sampled_from(["l2", "taylor"]),
            "allocation": st.sampled_from(["uniform", "sparsity"]),
            "reconstruction": st.sampled_from(["hard", "soft", "protective"]),
            "schedule": st.fixed_dictionaries({"kind": st.sampled_from(["one_shot", "cubic"]), "start": st.just(0.1)}),
            "sparsity": st.fixed_dictionaries(
                {
                    "scale": st.sampled_from(["model", "group"]),
                    "alpha": st.just(0.3),
                    "weights": st.sampled_from(["raw", "folded"]),
                }
            ),
            "protection": st.fixed_dictionaries(
                {
                    "when": st.sampled_from(["before", "after"]),
                    "rest": st.sampled_from(["free", "hold", "fix"]),
                    "scope": st.sampled_from(["group", "network"]),
                    "immunity": st.integers(0, 3),
                    "pulse": st.sampled_from([0.0, 0.1]),
                }
            ),
            "window": st.integers(1, 12),
            "round_to": st.sampled_from([1, 8]),
        }
    )
)
def test_a_run_does_what_its_method_says_whatever_the_defaults_are(values: JsonObject) -> None:
    method = Method.model_validate(values)
    run_with = Method.of_run(method.identity())
    made = [make_reconstruction([], each, None) for each in (method, run_with)]
    assert type(made[0]) is type(made[1])
    for part in ("_importance", "_trial"):
        assert vars(made[0]).get(part) == vars(made[1]).get(part)
    for part in ("_rest", "_live"):
        assert type(vars(made[0]).get(part)) is type(vars(made[1]).get(part))
    assert run_with.round_to == method.round_to
    assert run_with.identity() == method.identity()
    known = method.identity()
    sparsity, protection = known.get("sparsity", {}), known.get("protection", {})
    assert ("round_to" in known) == (method.round_to > 1), "runs from before it was a choice stay valid"
    assert ("scope" in protection) == bool(protection and method.protection.scope == "network")
    assert ("pulse" in protection) == (protection.get("when") == "before" and method.protection.pulse > 0)
    assert ("weights" in sparsity) == bool(sparsity and method.sparsity.weights == "folded")


def of(folder: Path, **suites: str) -> Grid:
    (folder / "methods.yaml").write_text(METHODS)
    for name, text in suites.items():
        (folder / f"{name}.yaml").write_text(text)
    return load_grid(folder, next(iter(suites)))


def test_a_suite_that_differs_from_another_in_what_it_says(tmp_path: Path) -> None:
    differing = """
    base: s
    title: shorter
    methods: {scratch: null}
    training: {batch_size: 7, dense: {epochs: 9}}
    """
    found = of(tmp_path, short=differing, s=SUITE)
    base = load_grid(tmp_path, "s")
    assert found.suite.title == "shorter" and list(found.suite.methods) == ["pretrained"]
    assert base.suite.training.dense
    assert found.suite.training.dense == base.suite.training.dense.model_copy(update={"epochs": 9})
    assert found.suite.training.pretrained == base.suite.training.pretrained
    same = next(run for run in base.runs.values() if run.method == "sfp" and run.init == "pretrained")
    config = found.runs[same.path.replace("s/", "short/", 1)].config
    assert config.training == same.config.training.model_copy(update={"batch_size": 7})


@pytest.mark.parametrize(
    ("suites", "says"),
    [
        ({"a": "base: b"}, "a.yaml: base: there is no suite 'b' next to it"),
        ({"a": "base: b", "b": "base: a"}, "b.yaml: base: a has this suite as its own base"),
        ({"a": "base: a"}, "a.yaml: base: a has this suite as its own base"),
    ],
)
def test_bases_that_cannot_be(suites: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(PsapError, match=says):
        of(tmp_path, **suites)


def test_published_networks_are_not_trained(tmp_path: Path) -> None:
    text = SUITE.replace("dense: {epochs: 4, lr: 0.1}", "dense: published").replace(", psap, small]", ", psap]")
    found = grid(tmp_path, text)
    assert configs(found)[None, "dense"]["training"]["recipe"] == {"weights": "published", "epochs": 0, "lr": 0.0}
    with pytest.raises(PsapError, match="small trains as long as the dense network and the pruning together"):
        grid(tmp_path, text.replace(", psap]", ", psap, small]"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{source: digits}", "{source: digits, photos: {size: 64}}", "photos are for the sources imagenet and folder"),
        ("{source: digits}", "{source: imagenet}", "source imagenet needs the section photos"),
        ("{source: digits}", "{source: folder, path: x, pad: 4, photos: {}}", "pad is for small images"),
        ("{source: digits}", "{source: folder, path: x, photos: {size: 8}}", "data.photos.size: .* 32, not 8"),
        (
            "training:",
            "training:\n  batch_size: 100\n  micro_batch: 30",
            "batch_size 100 is not a multiple of micro_batch",
        ),
        ("pretrained: {epochs", "pretrained: {weights: published, epochs", "belongs to the recipe `dense`"),
        ("dense: {epochs: 4", "dense: {epochs: 0", "training.dense.epochs: .*, not 0"),
    ],
)
def test_what_cannot_be_trained_on(old: str, new: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(PsapError, match=says):
        grid(tmp_path, SUITE.replace(old, new))


def test_what_came_later_leaves_identities_as_they_were(tmp_path: Path) -> None:
    """Unless it is set: then it is part of them."""
    before = grid(tmp_path).runs
    for config in (run.config.described() for run in before.values()):
        assert "photos" not in config["data"] and not {"micro_batch", "clip_norm"} & set(config["training"])
        assert "weights" not in config["training"]["recipe"]
    after = grid(tmp_path, SUITE.replace("training:", "training:\n  clip_norm: 1")).runs
    assert all(before[path].hash != after[path].hash for path in before)


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ("{method: pspa}", "s.yaml: claims.method: 'pspa' is none of the suite's methods; did you mean 'psap'?"),
        ("{method: taylor}", "s.yaml: claims.method: 'taylor' is none of the suite's methods; known: own, psap"),
        ("{method: sfp, plain: sfp_lat}", "claims.plain: 'sfp_lat' is none of the suite's methods; did you mean"),
        ("{method: sfp, hard: sfp}", "claims: sfp has two parts; each one needs a method of its own"),
        ("{protection: psap}", "claims: psap has two parts"),
    ],
)
def test_parts_in_the_claims_are_methods_of_the_suite(claims: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(PsapError, match=re.escape(says)):
        grid(tmp_path, SUITE + f"claims: {claims}\n")
    assert grid(tmp_path, SUITE + "claims: {method: sfp, protection: sfp_late}\n").suite.claims.protection == "sfp_late"


def test_what_a_base_tells_of_itself_is_not_said_of_another_suite(tmp_path: Path) -> None:
    told = SUITE + "note: of 8 x 8 pixels\n"
    own = of(tmp_path, c="base: b", b="base: s\nnote: between", s=told)
    assert (own.suite.title, own.suite.note) == ("", "") and own.describe({})["title"] == "c"
    again = of(tmp_path, b="base: s\nnote: between", s=told)
    assert (again.describe({})["title"], again.suite.note) == ("b", "between")


@given(st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), min_size=1, max_size=4, unique=True))
@example([0.5, 0.5000001])
@example([0.99999999])
@example([0.00001])
def test_a_target_is_shown_whole_by_its_run_s_path_or_refused(
    tmp_path_factory: pytest.TempPathFactory, targets: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("params")
    try:
        found = grid(folder, SUITE.replace("[0.5]", str(targets)))
    except PsapError as error:
        assert "targets" in str(error) and "a target has at most six digits" in str(error) and "\n" not in str(error)
        assert any(round(target, 6) != target or target < 0.001 for target in targets)
        return
    assert len(found.runs) == 1 + 7 * len(targets)
    for path, run in found.runs.items():
        assert run.kind == "dense" or float(path.split("/")[4]) == run.target
        assert run.kind == "dense" or re.fullmatch("[0-9.]+", path.split("/")[4]), "what the workflow takes"


@settings(deadline=None)  # it writes files
@given(st.sets(st.sampled_from([0, 1, 2])), st.sets(st.sampled_from([0.5, 0.8])), st.booleans())
def test_a_method_runs_in_its_part_of_the_grid_alone(seeds: set[int], targets: set[float], everywhere: bool) -> None:
    part = "{}" if everywhere else f"{{seeds: {sorted(seeds)}, targets: {sorted(targets)}}}"
    text = SUITE.replace("seeds: [0]", "seeds: [0, 1, 2]").replace("targets: [0.5]", "targets: [0.5, 0.8]")
    with TemporaryDirectory() as folder:
        whole, partial = (grid(Path(folder), suite) for suite in (text, f"{text}only: {{own: {part}}}\n"))
    left_out = set(whole.runs) - set(partial.runs)
    assert partial.runs.keys() <= whole.runs.keys()
    for path, run in whole.runs.items():
        outside = run.method == "own" and not everywhere and (run.seed not in seeds or run.target not in targets)
        assert (path in left_out) == outside
    assert all(whole.runs[path].hash == run.hash for path, run in partial.runs.items())


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ("{owm: {seeds: [0]}}", r"only.owm: 'owm' is none of the suite's methods; did you mean 'own'"),
        ("{own: {seeds: [7]}}", r"only.own.seeds: 7 is not in the suite's seeds"),
        ("{own: {sedes: [0]}}", r"only.own.sedes: unknown key"),
        ("{psap: {seeds: []}}", r"only.psap: small retrains its networks in more cells; add only.small"),
    ],
)
def test_a_part_that_cannot_be(only: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(PsapError) as caught:
        grid(tmp_path, f"{SUITE}only: {only}\n")
    assert says in str(caught.value)
