"""How MLflow's pages show a suite: its runs as a table with what tells them apart, or accuracy against reduction.

Each is a view that is shared: MLflow keeps one as JSON in a tag of the experiment, as its button *Share* writes it, and
an address names it.
"""

import json

from psap.utils.mappings import JsonObject

ACCURACY = "accuracy/top1_last"
REDUCTION = "macs_reduction"
_COLUMNS = [
    *(f"attributes.`{name}`" for name in ("Dataset", "Models")),
    *(f"metrics.`{name}`" for name in (ACCURACY, REDUCTION)),
    *(f"params.`{name}`" for name in ("method", "target", "init", "seed")),
]
# In the order of their accuracy MLflow shows all runs; in that of time, one line that unfolds to them.
_TABLE: JsonObject = {"selectedColumns": _COLUMNS, "runsHiddenMode": "SHOW_ALL"}
_TABLE |= {"orderByKey": f"metrics.`{ACCURACY}`", "orderByAsc": False}
_SECTION = {"uuid": "psap", "name": "accuracy against reduction", "display": True, "isReordered": False}
_CHART = {
    "type": "SCATTER",
    "uuid": "psap-accuracy",
    "metricSectionId": _SECTION["uuid"],
    "deleted": False,
    "isGenerated": False,
    "xaxis": {"key": REDUCTION, "type": "METRIC"},
    "yaxis": {"key": ACCURACY, "type": "METRIC"},
    "runsCountToCompare": 500,
}
_CHARTS = {"compareRunCharts": [_CHART], "compareRunSections": [_SECTION], "isAccordionReordered": True}
_VIEW = "mlflow.sharedViewState."
# Tags of an experiment.
VIEWS = {
    "mlflow.experimentKind": "custom_model_development",
    f"{_VIEW}table": json.dumps(_TABLE),
    f"{_VIEW}chart": json.dumps(_TABLE | _CHARTS),
}


def runs_page(server: str, experiment: str) -> str:
    """The address of the runs of the experiment with this id, as a table; without the mode, MLflow opens its other."""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey=table"


def chart_page(server: str, experiment: str) -> str:
    """The address of the same runs as a chart of accuracy against reduction."""
    page = f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    return f"{page}&compareRunsMode=CHART&viewStateShareKey=chart"
