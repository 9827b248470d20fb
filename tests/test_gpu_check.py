"""The check of a machine with a GPU, rehearsed: the same script, line by line, at toy size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml


def test_the_rehearsal_leaves_all_that_it_promises(root: Path, tmp_path: Path) -> None:
    script = [root / "scripts/gpu_check.sh", "--rehearse", tmp_path / "found"]
    done = subprocess.run(script, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    found = tmp_path / "found"
    assert done.returncode == 0, done.stdout + done.stderr + (found / "study.txt").read_text()
    told = dict(line.split(": ") for line in (found / "steps.txt").read_text().splitlines())
    assert {"machine", "tests", "study", "ranks"} < set(told) and all(line.startswith("ok") for line in told.values())
    assert json.loads((found / "machine.txt").read_text())["machine"]["threads"] > 0
    suite = yaml.safe_load((found / "gpu-check.yaml").read_text())
    assert suite["training"]["dense"]["epochs"] == 2
    assert len(list((found / "gpu-check").rglob("run.json"))) == 3 and (found / "gpu-check/report.html").exists()
    assert "bare" in (found / "train-resnet8.txt").read_text()
    assert sum(file.stat().st_size for file in found.rglob("*") if file.is_file()) < 16 * 2**20
