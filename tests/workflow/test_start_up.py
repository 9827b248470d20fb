"""What commands import: the start of a short training must not take longer than the training."""

import subprocess
import sys

from project_helpers import Project

HEAVY = ("torch._dynamo", "torchvision", "timm", "scipy", "pandas", "matplotlib", "mlflow", "onnx", "rich", "sklearn")
COMMANDS = """
import sys
from psap.__main__ import main
for run in sys.argv[1:]:
    sys.argv = ["psap", "train", run]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
print(*sys.modules)
"""


def test_trainings_import_only_what_they_use(project: Project) -> None:
    assert project.psap("data", "digits").returncode == 0
    runs = [f"tiny/resnet8/{part}/seed0" for part in ("dense", "pretrained/psap/0.5")]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *runs],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert "torch" in imported and not imported & set(HEAVY), imported & set(HEAVY)


def test_help_imports_no_torch_and_no_data_library(project: Project) -> None:
    code = "import sys; sys.argv = ['psap', '--help']\nfrom psap.__main__ import main\n"
    code += "try: main()\nexcept SystemExit: print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(said.splitlines()[-1].split()) & {*HEAVY, "torch", "numpy", "PIL", "yaml"} - {"rich"}


def test_runs_of_a_workflow_start_in_forks(project: Project) -> None:
    spy = project.folder / "sitecustomize.py"  # tells of every Python that has torch imported at its end
    spy.write_text(
        "import atexit, sys\n"
        "def tell():\n"
        "    if 'torch' in sys.modules: print(*sys.orig_argv, file=open('torch.txt', 'a'))\n"
        "atexit.register(tell)\n"
    )
    project.environment["PYTHONPATH"] = str(project.folder)
    done = project.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stderr
    with_torch = (project.folder / "torch.txt").read_text().splitlines()
    trained = [line for line in with_torch if "psap.cli.warm" in line]
    assert len(trained) >= 5 and not any("psap train" in line for line in with_torch)
    (project.folder / "torch.txt").unlink()
    again = project.psap("reproduce", "tiny")  # with nothing to do
    assert again.returncode == 0 and not (project.folder / "torch.txt").exists(), again.stderr
