"""Runs of an older grid are listed, and removed when confirmed: what runs wrote, and nothing else."""

from pathlib import Path

from filelock import FileLock
from project_helpers import TINY, Project

from psap.suites.cleanup import delete_finished_checkpoints
from psap.tracking.records import End, Head, Row, line, new_head

TOPS = ("results", "checkpoints", "state")
FINISHED, FAILED = End("FINISHED", 1), End("FAILED", 1, tags={"psap.failure": "boom"})
DIVERGED = End("FAILED", 1, tags={"psap.failure": "diverged: the loss is nan"})


def everything(folder: Path) -> dict[str, bytes]:
    files = (file for top in TOPS for file in (folder / top).rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_listed_and_removed_when_confirmed(finished: Project) -> None:
    folder = finished.folder
    finished.suite("tiny", TINY | {"methods": {"pretrained": ["psap"], "scratch": ["psap", "small_dense"]}})
    gone = "tiny/resnet8/pretrained/l1/0.5/seed0"
    others = ["results/tiny/seedlings/notes.txt", f"results/{gone}/notes.txt", "state/mine/seed1/epoch-1.pt",
              "checkpoints/mine/seed0/model.safetensors", "results/mine/seed0/run.json"]  # fmt: skip
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("[{}]")
    (folder / "elsewhere").mkdir()
    (folder / "results" / "seed7").symlink_to(folder / "elsewhere")
    before = everything(folder)
    listed = finished.psap("leftovers")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split() == sorted(f"{top}/{gone}" for top in TOPS)
    assert listed.stderr.startswith("3 folders of 1 runs that no suite has, ")
    asked = finished.psap("leftovers", "--remove")
    assert asked.stdout == listed.stdout and "nothing was removed: add --yes" in asked.stderr
    assert everything(folder) == before
    done = finished.psap("leftovers", "--remove", "--yes")
    assert done.stdout == listed.stdout and done.stderr.endswith(": removed\n"), done.stderr
    left = everything(folder)
    assert left == {name: data for name, data in before.items() if gone not in name or name in others}
    assert not (folder / "checkpoints/tiny/resnet8/pretrained/l1").exists(), "no empty folder stays behind"
    assert finished.psap("leftovers").stdout == ""


def test_a_suite_that_is_renamed_or_wrong_loses_nothing(finished: Project) -> None:
    before = everything(finished.folder)
    suite = finished.folder / "params" / "tiny.yaml"
    suite.rename(suite.with_name("other.yaml"))
    done = finished.psap("leftovers", "--remove")
    assert done.returncode == 0 and "all of tiny, of which params/ has no file" in done.stderr
    finished.suite("other", TINY | {"models": ["resnet9"]})
    done = finished.psap("leftovers", "--remove", "--yes")
    assert done.returncode == 2 and "resnet9" in done.stderr
    assert everything(finished.folder) == before


def test_only_checkpoints_that_nothing_goes_on_from_are_tidied_away(tmp_path: Path) -> None:
    ends: dict[str, list[Row | End]] = {
        "complete": [FINISHED],
        "diverged": [DIVERGED],
        "cut": [],
        "failed": [FAILED],
        "busy": [FINISHED],
    }
    for name, end in ends.items():
        folder = tmp_path / name / "0f"
        folder.mkdir(parents=True)
        (folder / "epoch-00001-0.pt").write_text("x")
        records: list[Head | Row | End] = [new_head(name, "tiny", {}, {}), *end]
        (folder / "journal.jsonl").write_text("".join(line(record) for record in records))
    with FileLock(tmp_path / "busy" / "0f" / "lock"):
        delete_finished_checkpoints(tmp_path)
    assert {file.parts[-3] for file in tmp_path.rglob("*.pt")} == {"cut", "failed", "busy"}
    assert (tmp_path / "complete" / "0f" / "journal.jsonl").exists(), "MLflow can be filled again"
