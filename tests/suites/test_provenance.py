"""What decides the bits of a result is recorded with it, and no state of another arithmetic is gone on with."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from psap.suites.digest import state_key
from psap.suites.provenance import arithmetic, machine, provenance

CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def key() -> str:
    return state_key("hash", "origin", "data", arithmetic(CPU, "float32"))


def test_threads_and_settings_are_recorded_and_make_another_state(threads, monkeypatch: pytest.MonkeyPatch) -> None:
    one = key()
    assert machine(CPU)["threads"] == 1 and one == key()
    torch.set_num_threads(2)
    assert machine(CPU)["threads"] == 2 and one != key()
    torch.set_num_threads(1)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert machine(CPU)["OPENBLAS_CORETYPE"] == "Haswell" and one != key()


def test_instructions_are_recorded_and_make_another_state() -> None:
    code = (
        "import torch; from psap.suites.provenance import arithmetic, machine; torch.set_num_threads(1);"
        "cpu = torch.device('cpu'); print(machine(cpu)['instructions']); print(arithmetic(cpu, 'float32'))"
    )
    command = ["env", "ATEN_CPU_CAPABILITY=default", sys.executable, "-c", code]
    plain, told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert plain == "DEFAULT" and told != arithmetic(CPU, "float32")


def test_without_git_nothing_is_known_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = provenance(CPU, "float32")
    assert (found["commit"], found["dirty"]) == ("", None)
    for command in ("git init -q", "git -c user.name=a -c user.email=b commit -qm c --allow-empty"):
        subprocess.run(command.split(), check=True)
    found = provenance(CPU, "float32")
    assert len(found["commit"]) == 40 and found["dirty"] is False
    monkeypatch.setenv("PATH", "")
    assert provenance(CPU, "float32")["dirty"] is None
