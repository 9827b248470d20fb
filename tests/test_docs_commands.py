"""Every command that a page shows is run by a test, which docs_commands.yaml names, or says beside it why it is not."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = "psap make snakemake dvc git torchrun python pip kubectl mlflow export"
A_COMMAND = re.compile(rf"(\$ )?(\w+=\S+ )*(\.venv/bin/)?({PROGRAMS.replace(' ', '|')}) ")
REASON = re.compile(r"not run by the tests: (.+)")


def blocks(root: Path) -> Iterator[tuple[str, str, str]]:
    """Page, language and text of every fenced block."""
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        for language, text in FENCE.findall(page.read_text()):
            yield page.name, language, text


def commands(root: Path) -> dict[str, bool]:
    """Every command, without what is only layout, and whether its page says that it is not run."""
    found: dict[str, bool] = {}
    for page, language, text in blocks(root):
        lines = text.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif language != "sh":
            continue
        for line in lines:
            command, _, comment = line.partition(" #")
            command = " ".join(command.replace(".venv/bin/", "").split())
            excused = bool(REASON.search(comment))
            assert found.setdefault(command, excused) == excused, f"{page}: {command}: elsewhere it says otherwise"
    return found


def listed(root: Path) -> dict[str, str]:
    """Command -> the test that runs it."""
    tests = yaml.safe_load((root / "tests" / "docs_commands.yaml").read_text())
    pairs = [(command, test) for test, lines in tests.items() for command in lines]
    assert len(dict(pairs)) == len(pairs), "a command is listed twice"
    return dict(pairs)


def test_commands_stand_in_blocks_that_say_so(root: Path) -> None:
    assert {page for page, language, _ in blocks(root) if language == "sh"} >= {"README.md", "index.md", "prune.md"}
    for page, language, text in blocks(root):
        if language not in ("sh", "console"):
            assert not [line for line in text.splitlines() if A_COMMAND.match(line)], f"{page}: begin it with ```sh"


def test_every_command_is_run_by_a_test_or_marked(root: Path) -> None:
    unmarked = {command for command, excused in commands(root).items() if not excused}
    known = set(listed(root))
    assert not unmarked - known, "name their test in tests/docs_commands.yaml, or say `not run by the tests: <reason>`"
    assert not known - unmarked, "on no page any more, or marked there: take them out of tests/docs_commands.yaml"


def test_the_tests_named_are_there_and_give_these_options(root: Path) -> None:
    for command, test in listed(root).items():
        file, _, function = test.partition("::")
        text = (root / file).read_text()
        if not function:
            assert command in text.splitlines(), f"{file} does not run {command}"
            continue
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), f"there is no {test}"
        missing = [option for option in re.findall(r"--[\w-]+", command) if option not in text]
        verb = re.match(r"(?:\w+=\S+ )*psap (\w+)", command)
        assert not missing and (not verb or verb[1] in text), f"{file} does not run {command}: {missing or verb}"
