"""How MLflow's pages show a suite: as training runs, and under one address, accuracy against reduction.

The address is that of a view that is shared: MLflow keeps one as JSON in a tag of the experiment, as its button *Share*
writes it.
"""

import json

_ACCURACY, _REDUCTION = "accuracy/top1_last", "macs_reduction"
_COLUMNS = [
    "attributes.`Dataset`",
    "attributes.`Models`",
    *(f"metrics.`{name}`" for name in (_ACCURACY, _REDUCTION, "params_reduction")),
    *(f"params.`{name}`" for name in ("method", "target", "init", "seed")),
]
_CHART = {
    "type": "SCATTER",
    "uuid": "psap-accuracy",
    "metricSectionId": "psap",
    "deleted": False,
    "isGenerated": False,
    "xaxis": {"key": _REDUCTION, "type": "METRIC"},
    "yaxis": {"key": _ACCURACY, "type": "METRIC"},
    "runsCountToCompare": 100,
}
_SECTION = {"uuid": "psap", "name": "accuracy against reduction", "display": True, "isReordered": False}
_STATE = {
    "selectedColumns": _COLUMNS,
    "runsHiddenMode": "SHOWALL",
    "compareRunCharts": [_CHART],
    "compareRunSections": [_SECTION],
    "isAccordionReordered": True,
}
# Tags of an experiment.
VIEW = {"mlflow.experimentKind": "custom_model_development", "mlflow.sharedViewState.psap": json.dumps(_STATE)}


def runs_page(server: str, experiment: str) -> str:
    """The address of the runs of the experiment with this id, as a table; without the mode, MLflow opens its other."""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"


def chart_page(server: str, experiment: str) -> str:
    """The address of the same runs as a chart of accuracy against reduction."""
    return f"{runs_page(server, experiment)}&viewStateShareKey=psap&compareRunsMode=CHART"
