"""What of a run is more than its numbers to MLflow: its data set, and its network as a model that MLflow can load."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psap.models import architecture
from psap.tracking.records import DataSet
from psap.utils import files

_LOADER = "psap.models.pyfunc"
_EXAMPLE = "input_example.json"
_DIGEST = 8  # characters, as MLflow shows of its own; the whole is in the profile


def data_key(data: DataSet) -> tuple[str, str]:
    """Name and digest of `data`, as MLflow keeps them."""
    return data["name"], data["digest"][:_DIGEST]


def data_input(data: DataSet) -> Any:
    """`data` as an input of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, profile = json.dumps({"uri": data["source"]}), json.dumps(data["profile"] | {"digest": data["digest"]})
    return DatasetInput(
        Dataset(*data_key(data), "local", source, profile=profile), [InputTag("mlflow.data.context", "train")]
    )


def log_network(client: Any, run: Any, paths: Sequence[Path]) -> str:
    """Make the network in the files `paths` the model of `run`, once; returns the model's id.

    The store gets one copy of the files. A model that was begun before is completed.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    found = _models(client, run)
    if found:
        model = found[0]
        _delete(client, found[1:])
    else:
        name = re.sub(r"\W+", "-", run.info.run_name).strip("-")
        tags = {name: value for name, value in run.data.tags.items() if name.startswith("psap.")}
        model = client.create_logged_model(run.info.experiment_id, name, run.info.run_id, tags, model_type="image")
    with TemporaryDirectory() as folder:
        for path in paths:
            (Path(folder) / path.name).symlink_to(path.absolute())
        _describe(Path(folder), run.info.run_id, model)
        client.log_model_artifacts(model.model_id, folder)
    if model.model_id not in [output.model_id for output in run.outputs.model_outputs]:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def delete_networks(client: Any, run: Any) -> None:
    """Delete the models of a run that is to be deleted."""
    _delete(client, _models(client, run))


def clear_artifacts(client: Any, run: Any) -> None:
    """Remove the files of `run` that are there: of an attempt that was cut off, or of a report that has changed."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if left := client.list_artifacts(run.info.run_id):
        repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
        for file in left:
            repository.delete_artifacts(file.path)


def _models(client: Any, run: Any) -> list[Any]:
    """The models of `run` that are not deleted, the first one first."""
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))


def _delete(client: Any, models: Sequence[Any]) -> None:
    for model in models:
        client.delete_logged_model(model.model_id)


def _describe(folder: Path, run_id: str, model: Any) -> None:
    """Write to `folder`, which holds a network, the files by which MLflow loads it, and an image to try it with."""
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import Schema, TensorSpec

    kept = Model(artifact_path=model.name, run_id=run_id, model_id=model.model_id)
    add_to_model(kept, _LOADER)
    described = architecture.read(folder)
    if told := described.extra.get(architecture.PREPROCESSING):
        image = (*told["size"], described.in_channels)
        inputs = Schema([TensorSpec(np.dtype("uint8"), (-1, *image))])
        outputs = Schema([TensorSpec(np.dtype("float32"), (-1, described.classes))])
        kept.signature = ModelSignature(inputs, outputs)
        kept.saved_input_example_info = {"artifact_path": _EXAMPLE, "type": "ndarray", "format": "tf-serving"}
        files.write_json(folder / _EXAMPLE, {"inputs": np.full((1, *image), 128).tolist()})
    kept.save(str(folder / "MLmodel"))
