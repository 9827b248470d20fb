"""Every command that a page shows is run by a test, or docs_commands.yaml says why not."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = "psap make snakemake dvc git torchrun python pip conda kubectl mlflow export"
A_COMMAND = re.compile(rf"(\$ )?(\w+=\S+ )*(\.venv/bin/)?({PROGRAMS.replace(' ', '|')}) ")
NOT_RUN = "not run"


def blocks(root: Path) -> Iterator[tuple[str, str, str]]:
    """Page, language and text of every fenced block."""
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        for language, text in FENCE.findall(page.read_text()):
            yield page.name, language, text


def commands(root: Path) -> set[str]:
    """Every command, without what is only layout."""
    found: set[str] = set()
    for _, language, text in blocks(root):
        lines = text.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif language != "sh":
            continue
        found |= {" ".join(line.partition(" #")[0].replace(".venv/bin/", "").split()) for line in lines}
    return found


def listed(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Command -> the test that runs it, and command -> why none does."""
    tests = yaml.safe_load((root / "tests" / "docs_commands.yaml").read_text())
    excused = tests.pop(NOT_RUN)
    pairs = [(command, test) for test, lines in tests.items() for command in lines]
    assert len(dict(pairs)) == len(pairs), "a command is listed twice"
    return dict(pairs), excused


def test_commands_stand_in_blocks_that_say_so(root: Path) -> None:
    assert {page for page, language, _ in blocks(root) if language == "sh"} >= {"README.md", "index.md", "prune.md"}
    for page, language, text in blocks(root):
        if language not in ("sh", "console"):
            assert not [line for line in text.splitlines() if A_COMMAND.match(line)], f"{page}: begin it with ```sh"


def test_every_command_is_run_by_a_test_or_excused(root: Path) -> None:
    run, excused = listed(root)
    shown, known = commands(root), {*run, *excused}
    assert not shown - known, "name their test in tests/docs_commands.yaml, or the reason below `not run`"
    assert not known - shown, "on no page any more: take them out of tests/docs_commands.yaml"
    assert not set(run) & set(excused), "run and not run"
    assert all(isinstance(reason, str) and reason.strip() for reason in excused.values()), "a reason is missing"


def test_the_front_page_shows_no_command_that_deletes(root: Path) -> None:
    shown = "\n".join(text for page, _, text in blocks(root) if page == "README.md")
    assert not re.findall(
        r"dvc (?:pull|checkout)|git (?:checkout|clean|reset)|\brm |--force|--remove|make clean", shown
    )


def test_the_pages_say_nothing_of_the_tests_bookkeeping(root: Path) -> None:
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        assert "run by the tests" not in page.read_text(), page.name


def test_the_tests_named_are_there_and_give_these_options(root: Path) -> None:
    for command, test in listed(root)[0].items():
        file, _, function = test.partition("::")
        text = (root / file).read_text()
        if not function:
            assert command in text.splitlines(), f"{file} does not run {command}"
            continue
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), f"there is no {test}"
        missing = [option for option in re.findall(r"--[\w-]+", command) if option not in text]
        verb = re.match(r"(?:\w+=\S+ )*psap (\w+)", command)
        assert not missing and (not verb or verb[1] in text), f"{file} does not run {command}: {missing or verb}"
