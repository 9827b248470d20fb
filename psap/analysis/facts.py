"""The first lines of a report: what was run on what."""

from collections.abc import Iterable, Iterator

from psap.analysis.results import Results, Suite
from psap.suites.row import Row
from psap.utils.mappings import flat

NAMES = ("source", "label", "origin", "licence", "digest")


def facts(results: Results) -> dict[str, str]:
    """What was run on what."""
    suite, runs = results.suite, results.committed
    said = flat({key: value for key, value in suite.data.items() if value and key not in NAMES})
    if suite.data["source"] != "imagenet":  # whose classes the suite expects; of another set they are counted
        said.pop("photos.classes", None)
    data = [f"{key.replace('_', ' ').replace('.', ' ')} {value}" for key, value in said.items()]
    label = str(suite.data.get("label") or suite.data["source"])
    versions = {package: _distinct(run.provenance.versions.get(package) for run in runs) for package in _packages(runs)}
    return {
        "Data": "; ".join([label, *data]),
        "Source of the data": "; ".join(f"{name} {suite.data[name]}" for name in NAMES[2:] if suite.data.get(name)),
        "Models": ", ".join(suite.models),
        "Methods": ", ".join(suite.all_methods),
        "Targets": f"{', '.join(f'{100 * t:g} %' for t in suite.targets)} of {_measure(results)} removed",
        "Seeds": f"{len(suite.seeds)} ({', '.join(map(str, suite.seeds))})",
        "Epochs": ", ".join(_epochs(suite)),
        "Runs": "; ".join(filter(None, [f"{len(runs)} of {len(suite.runs)}", results.divergence])),
        "Hardware": _distinct(f"{run.provenance.hardware} ({run.provenance.device})" for run in runs),
        "Time of all runs": f"{_duration(results.rows['seconds'].sum())}, one after the other",
        "Versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
        "Commit": _distinct(_commit(run) for run in runs),
    }


def _epochs(suite: Suite) -> Iterator[str]:
    """How long each kind of network was trained."""
    names = {"dense": "dense", "pretrained": "pretrained", "scratch": "from scratch"}
    for key, word in names.items():
        if key == "dense" or key in suite.inits:
            recipe = suite.training.get(key)
            from_weights = " from published weights" if recipe and recipe.get("weights") else ""
            yield f"{word} {recipe['epochs']}{from_weights}" if recipe else f"{word}: published weights as they are"


def _measure(results: Results) -> str:
    return "parameters" if results.suite.measure == "params" else "multiply-adds"


def _packages(runs: list[Row]) -> list[str]:
    return list(dict.fromkeys(package for run in runs for package in run.provenance.versions))


def _distinct(values: Iterable[str | None]) -> str:
    return "; ".join(sorted({value for value in values if value}))


def _commit(run: Row) -> str:
    return f"{(run.provenance.commit or 'none')[:12]}{' with uncommitted changes' if run.provenance.dirty else ''}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
