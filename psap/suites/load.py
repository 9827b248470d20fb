"""Read what a user writes in params/, with one clear line for everything that is wrong with it."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psap.errors import PsapError, suggestion
from psap.models.names import check_own_name
from psap.suites.schema import MethodConfig, MethodPair, Methods, Retrain, Suite
from psap.utils.bounds import Name
from psap.utils.mappings import JsonObject
from psap.utils.validation import checked, validated
from psap.utils.yaml_files import read_mapping, read_sections

Named = Mapping[str, Mapping[str, JsonObject]]
"""Methods by name, by where they stand, which messages begin with."""


def load_methods(path: Path, variants: Named | None = None, tuned: Named | None = None) -> Methods:
    """Read params/methods.yaml, a mapping from a method's name to its parameters, and add `variants`.

    A section `scratch` in a method holds what differs when it prunes from scratch. What is `tuned` takes the place of
    what the file says, and variants of such a method have it too.
    """
    values = read_mapping(path)
    places = {name: f"{path}: {name}" for name in values}
    for where, some in (tuned or {}).items():
        for name, changes in some.items():
            if not isinstance(values.get(name), dict):
                raise PsapError(f"{where}{name}: unknown method {name!r}{suggestion(name, values)}")
            values[name], places[name] = _merged(values[name], changes), f"{where}{name}"
    added = [(where, *variant) for where, some in (variants or {}).items() for variant in some.items()]
    for where, name, changes in added:
        places[name] = f"{where}{name}"
        if name in values:
            raise PsapError(f"{places[name]}: there is a method of this name already; give the variant another")
        base = checked(str, changes.get("base", ""), f"{places[name]}.base")
        if base and not isinstance(values.get(base), dict):
            raise PsapError(f"{places[name]}.base: unknown method {base!r}{suggestion(base, values)}")
        own = {key: value for key, value in changes.items() if key != "base"}
        values[name] = _merged(values.get(base, {}), own)
    for name, where in places.items():
        checked(Name, name, where)
    methods = {name: _method(values[name], where) for name, where in places.items()}
    for name, method in methods.items():
        if isinstance(method, Retrain) and not isinstance(methods.get(method.retrain), MethodPair):
            raise PsapError(f"{places[name]}.retrain: {method.retrain!r} is not a pruning method of this file")
    return methods


def _method(values: Any, where: str) -> MethodPair | Retrain:
    if not isinstance(values, dict):
        raise PsapError(f"{where}: must be a mapping of parameters to values")
    if "retrain" in values:
        return validated(Retrain, values, where)
    changes = values.get("scratch", {})
    if not isinstance(changes, dict):
        raise PsapError(f"{where}.scratch: must be a mapping of parameters to values")
    pretrained = {name: value for name, value in values.items() if name != "scratch"}
    scratch = validated(MethodConfig, _merged(pretrained, changes), f"{where}.scratch" if changes else where)
    return MethodPair(validated(MethodConfig, pretrained, where), scratch)


def load_suite(path: Path, methods_file: Path, readings_file: Path) -> tuple[Suite, Methods]:
    """Read a suite and the methods that it may name, checked; PsapError with one line on the first mistake.

    Readings of the method are variants of every suite that lists them.
    """
    suite = validated(Suite, _with_base(path), str(path))
    readings = read_sections(readings_file) if readings_file.exists() else {}
    variants = {f"{readings_file}: ": readings, f"{path}: variants.": suite.variants}
    methods = load_methods(methods_file, variants, {f"{path}: tuned.": suite.tuned})
    for init, names in suite.methods.items():
        for name in names:
            if name not in methods:
                raise PsapError(f"{path}: methods.{init}: unknown method {name!r}{suggestion(name, methods)}")
            method = methods[name]
            if init == "scratch" and isinstance(method, MethodPair) and method.scratch.distill:
                raise PsapError(
                    f"{path}: methods.scratch: {name} distills from the dense network that it starts from, and from "
                    "scratch there is none; give it `scratch: {distill: null}`, or list it under pretrained only"
                )
            if isinstance(method, Retrain) and method.retrain not in names:
                raise PsapError(f"{path}: methods.{init}: {name} retrains {method.retrain}, which is not in the list")
            if isinstance(method, Retrain) and init == "pretrained" and not suite.training.trains_from_new_weights:
                raise PsapError(
                    f"{path}: methods.pretrained: {name} trains as long as the dense network and the pruning together, "
                    "and how long published weights were trained is not known; list it under scratch only"
                )
    listed = list(dict.fromkeys(name for names in suite.methods.values() for name in names))
    for name in suite.only:
        _check_part(suite, methods, name, listed, f"{path}: only.{name}")
    suite = suite.model_copy(
        update={"variants": {name: readings[name] for name in listed if name in readings} | suite.variants}
    )
    for part in sorted(suite.claims.model_fields_set):
        name = getattr(suite.claims, part)
        if name not in listed:
            raise PsapError(f"{path}: claims.{part}: {name!r} is none of the suite's methods{suggestion(name, listed)}")
    for model in suite.models:
        try:
            check_own_name(model)  # whether a library has the network is seen when it is counted
        except PsapError as error:
            raise PsapError(f"{path}: models: {error}") from None
    return suite, methods


def _check_part(suite: Suite, methods: Methods, name: str, listed: list[str], where: str) -> None:
    if name not in listed:
        raise PsapError(f"{where}: {name!r} is none of the suite's methods{suggestion(name, listed)}")
    for axis, values in suite.only[name]:
        for value in values or ():
            if value not in getattr(suite, axis):
                raise PsapError(f"{where}.{axis}: {value} is not in the suite's {axis}")
    for retraining in listed:
        method = methods[retraining]
        if isinstance(method, Retrain) and method.retrain == name:
            missing = [
                cell
                for cell in itertools.product(suite.models, suite.targets, suite.seeds)
                if not suite.only[name].has(*cell)
                and (retraining not in suite.only or suite.only[retraining].has(*cell))
            ]
            if missing:
                raise PsapError(f"{where}: {retraining} retrains its networks in more cells; add only.{retraining}")


def _with_base(path: Path, above: tuple[Path, ...] = ()) -> JsonObject:
    """The suite in `path`; one with `base: <suite>` is that suite, but for what it says otherwise.

    What a base tells its readers is told of its own data and grid, so that is not taken over.
    """
    values = read_mapping(path)
    base = values.pop("base", None)
    if base is None:
        return values
    checked(Name, base, f"{path}: base")
    file = path.with_name(f"{base}.yaml")
    if file in (path, *above):
        raise PsapError(f"{path}: base: {base} has this suite as its own base; one of them must stand alone")
    if not file.exists():
        raise PsapError(f"{path}: base: there is no suite {base!r} next to it ({file})")
    inherited = _with_base(file, (path, *above))
    return _merged({name: value for name, value in inherited.items() if name not in ("title", "note")}, values)


def _merged(values: JsonObject, changes: JsonObject) -> JsonObject:
    """`values` with `changes`, section by section; what is changed to nothing (null) is left out."""
    merged = {name: value for name, value in values.items() if changes.get(name, value) is not None}
    for name, change in changes.items():
        if change is None:
            continue
        both = isinstance(change, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], change) if both else change
    return merged
