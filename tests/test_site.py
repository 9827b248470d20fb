"""The documentation's site builds, asks nobody for anything, and says what the code says."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from psap.analysis.rules import Rules


def test_the_site_builds_without_a_warning_and_stands_alone(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for page in pages(yaml.safe_load((root / "mkdocs.yml").read_text())["nav"]):
        text = (tmp_path / "site" / page).with_suffix(".html").read_text()
        assert not re.search(r"""<(?:script|img|iframe)[^>]+src=["']?(?:https?:)?//""", text), page
        assert not re.search(r"""<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="(?:https?:)?//""", text), page
    reports = {report.parent.name for report in (root / "results").glob("*/report.html")}
    assert {report.stem for report in (tmp_path / "site" / "gallery").glob("*.html")} == reports >= {"demo"}
    # Pages from the disk may read no JSON and start no worker.
    assert (tmp_path / "site" / "search" / "search_index.js").read_text().startswith("var __index = {")
    assert 'src="iframe-worker.js"' in (tmp_path / "site" / "index.html").read_text()
    library = (tmp_path / "site" / "api.html").read_text()
    assert 'id="psap.pruning.pruner.Pruner.after_backward"' in library


def pages(nav: list[dict[str, Any]]) -> Iterator[str]:
    """The files of a navigation, those of its sections too."""
    for entry in nav:
        for below in entry.values():
            yield from pages(below) if isinstance(below, list) else [below]


def test_the_parameters_page_is_that_of_the_schema(root: Path) -> None:
    made = runpy.run_path(str(root / "docs" / "parameters.py"))["page"]()
    assert (root / "docs" / "parameters.md").read_text() == made, "make site renews it"


def test_the_rules_of_verdicts_are_those_of_the_code(root: Path) -> None:
    page = " ".join((root / "docs" / "analysis.md").read_text().split())
    assert [rule for rule in Rules().told() if rule not in page] == []


def test_every_fault_of_the_page_has_a_test(root: Path) -> None:
    page = (root / "docs" / "reliability.md").read_text()
    faults = re.findall(
        r"^\| (.+?) \| .+ \| .+ \|$", page.partition("## Faults")[2].partition("## Resuming")[0], re.MULTILINE
    )
    tried = yaml.safe_load((root / "tests" / "faults.yaml").read_text())
    assert sorted(fault for fault in faults if fault != "fault") == sorted(tried)
    assert [file for files in tried.values() for file in files if not (root / file).is_file()] == []


def test_the_front_page_links_to_what_is_there(root: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (root / "README.md").read_text())
    assert "docs/prune.md" in links
    assert [link for link in links if not (root / link).exists()] == []


def test_the_pages_are_in_short_sentences(root: Path) -> None:
    done = subprocess.run([sys.executable, root / "scripts" / "prose.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len((root / "README.md").read_text().splitlines()) <= 130
