"""Register the best networks of a suite in MLflow's registry, under names that stay when better ones come."""

from typing import Any

from psap.errors import PsapError
from psap.tracking.store import Store, tracking_uri
from psap.tracking.view import ACCURACY


def register(suite: str) -> list[str]:
    """Register, of each model of `suite`, the dense network and the best pruned one for each target; returns lines.

    The name is psap-<suite>-<model>; aliases are `dense` and `best-at-<per cent>`. Best is the highest accuracy on the
    images that scored it, over methods, starts and seeds: a choice for use, not a result. A network is a version once,
    however often this is called; aliases move to the best of today.
    """
    store = Store.reached(tracking_uri(None))
    best = _best(_finished(store, suite))
    if not best:
        raise PsapError(f"{suite}: MLflow has no finished run with a network; psap reproduce {suite}, then psap track")
    return [_register(store.client, f"psap-{suite}-{model}", alias, run) for (model, alias), run in best.items()]


def _finished(store: Store, suite: str) -> list[Any]:
    experiment = store.suites().get(suite)
    found: list[Any] = []
    token = None
    while experiment:
        page = store.client.search_runs([experiment], "attributes.status = 'FINISHED'", page_token=token)
        found, token = [*found, *page], page.token
        if not token:
            break
    return found


def _best(runs: list[Any]) -> dict[tuple[str, str], Any]:
    """The best run with a network for each model (as its name may be written) and alias."""
    best: dict[tuple[str, str], Any] = {}
    for run in runs:
        tags, accuracy = run.data.tags, run.data.metrics.get(ACCURACY)
        if accuracy is None or not run.outputs.model_outputs or "psap.run" not in tags:
            continue
        per_cent = f"{100 * float(tags['psap.target']):g}".replace(".", "_")
        alias = "dense" if tags["psap.method"] == "dense" else f"best-at-{per_cent}"
        key = (tags["psap.run"].split("/")[1], alias)
        if key not in best or accuracy > best[key].data.metrics[ACCURACY]:
            best[key] = run
    return dict(sorted(best.items()))


def _register(client: Any, name: str, alias: str, run: Any) -> str:
    model = run.outputs.model_outputs[0].model_id
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run.info.run_id}'")
    if not versions:
        versions = [client.create_model_version(name, f"models:/{model}", run.info.run_id, model_id=model)]
    version = versions[0].version
    client.set_registered_model_alias(name, alias, version)
    return f"{name}@{alias}: {run.info.run_name}, top-1 {run.data.metrics[ACCURACY]:.2f} %, version {version}"
