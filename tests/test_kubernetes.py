"""deploy/kubernetes/job.yaml names what is there: a suite, the folders of this project, the GPUs that it asks for."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from psap.suites.grid import load_grid
from psap.suites.paths import CHECKPOINTS, RESULTS, STATE, data_file


@pytest.fixture
def manifests(root: Path) -> dict[str, Any]:
    documents = list(yaml.safe_load_all((root / "deploy" / "kubernetes" / "job.yaml").read_text()))
    assert [(one["apiVersion"], one["kind"]) for one in documents] == [
        ("v1", "PersistentVolumeClaim"),
        ("batch/v1", "Job"),
    ]
    return {one["kind"]: one for one in documents}


def test_the_job_runs_a_suite_with_the_cores_and_gpus_that_its_pod_has(root: Path, manifests: dict[str, Any]) -> None:
    (container,) = manifests["Job"]["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    words = shlex.split(script.split("&& exec ")[1])
    program, verb, suite, *options = words
    assert (program, verb) == (".venv/bin/psap", "reproduce")
    limits = container["resources"]["limits"]
    assert load_grid(root / "params", suite).suite.hardware == "gpu"
    assert options == ["--cores", limits["cpu"], "--resources", f"gpu={limits['nvidia.com/gpu']}"]


def test_all_that_a_restart_goes_on_from_lies_on_the_volume(root: Path, manifests: dict[str, Any]) -> None:
    pod = manifests["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    claim = manifests["PersistentVolumeClaim"]["metadata"]["name"]
    (volume,) = (one["name"] for one in pod["volumes"] if one.get("persistentVolumeClaim") == {"claimName": claim})
    (mounted,) = (Path(one["mountPath"]) for one in container["volumeMounts"] if one["name"] == volume)
    home = Path(container["workingDir"])
    data = data_file(load_grid(root / "params", "cifar10").suite.data).parent
    assert {STATE.name, RESULTS.name, CHECKPOINTS.name, data.name} == {"state", "results", "checkpoints", "data"}
    for folder in (STATE, RESULTS, CHECKPOINTS, data, Path(".venv"), Path(".snakemake")):
        assert (home / folder).is_relative_to(mounted), "joined with an absolute path, it would be that"
    assert pod["restartPolicy"] == "OnFailure"
    (checkout,) = pod["initContainers"]
    assert str(home) in checkout["command"][-1], "the checkout is made where the job looks for it"
