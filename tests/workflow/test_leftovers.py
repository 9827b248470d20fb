"""Runs of an older grid are listed, and removed when asked: those, whole, and nothing else."""

from pathlib import Path

from filelock import FileLock
from project import TINY, Project

from psap.leftovers import tidy
from psap.tracking.journal import End, line, new_head

KEPT, GONE = (
    "tiny/resnet8/pretrained/psap/0.5/seed0",
    ("tiny/resnet8/pretrained/sfp/0.5/seed0", "old/resnet8/dense/seed1"),
)

FINISHED, FAILED = End("FINISHED", 1), End("FAILED", 1)


def test_listed_and_removed(project: Project) -> None:
    for run in (KEPT, *GONE):
        for top in ("results", "checkpoints", "state"):
            (project.folder / top / run).mkdir(parents=True)
            (project.folder / top / run / "file").write_text("x")
    (project.folder / "results" / "tiny" / "table.csv").write_text("x")
    listed = project.psap("leftovers")
    assert listed.returncode == 0, listed.stderr
    expected = sorted(f"{top}/{run}" for top in ("results", "checkpoints", "state") for run in GONE)
    assert listed.stdout.split() == expected
    assert listed.stderr == "6 folders of runs that no suite has\n"
    assert project.psap("leftovers", "--remove").stdout == listed.stdout
    left = {file.relative_to(project.folder).as_posix() for top in ("results", "checkpoints", "state")
            for file in (project.folder / top).rglob("*")}  # fmt: skip
    assert {name for name in left if name.endswith(("file", ".csv"))} == {
        "results/tiny/table.csv", *(f"{top}/{KEPT}/file" for top in ("results", "checkpoints", "state"))
    }  # fmt: skip
    assert not any("old" in name or "sfp" in name for name in left), "no empty folder stays behind"
    assert project.psap("leftovers").stdout == ""


def test_a_wrong_suite_removes_nothing(project: Project) -> None:
    (project.folder / "results" / GONE[0]).mkdir(parents=True)
    project.suite("tiny", TINY | {"models": ["resnet9"]})
    done = project.psap("leftovers", "--remove")
    assert done.returncode == 2 and "resnet9" in done.stderr
    assert (project.folder / "results" / GONE[0]).is_dir()


def test_only_the_checkpoints_of_complete_runs_are_tidied_away(tmp_path: Path) -> None:
    for name, records in {"complete": [FINISHED], "cut": [], "failed": [FAILED], "busy": [FINISHED]}.items():
        folder = tmp_path / name / "0f"
        folder.mkdir(parents=True)
        (folder / "epoch-00001-0.pt").write_text("x")
        head = new_head(name, "tiny", {}, {})
        (folder / "journal.jsonl").write_text("".join(line(record) for record in [head, *records]))
    with FileLock(tmp_path / "busy" / "0f" / "lock"):
        tidy(tmp_path)
    assert {file.parts[-3] for file in tmp_path.rglob("*.pt")} == {"cut", "failed", "busy"}
    assert (tmp_path / "complete" / "0f" / "journal.jsonl").exists(), "MLflow can be filled again"
