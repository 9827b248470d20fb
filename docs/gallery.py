"""A hook of mkdocs (https://www.mkdocs.org/user-guide/configuration/#hooks): a page of all reports in `results/`.

It has what lies there when the site is built, and the site holds copies of the reports and of their first figures.
"""

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "gallery.md"
_INTRODUCTION = "The reports of the suites that are committed, each one page that needs no network."


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page, the reports and their figures to the site's files."""
    sections = []
    for report in sorted((Path(config.config_file_path).parent / "results").glob("*/report.html")):
        suite = json.loads((report.parent / "suite.json").read_text())
        figures = [report.parent / "figures" / f"{name}.png" for name in ("accuracy", "settings")]
        copied = {report: f"gallery/{report.parent.name}.html"}
        copied |= {figure: f"gallery/{report.parent.name}.png" for figure in figures if figure.exists()}
        for source, place in copied.items():
            files.append(File.generated(config, place, abs_src_path=str(source)))
        sections.append(_section(suite["title"], list(copied.values())))
    text = "\n\n".join(["# Gallery", _INTRODUCTION, *sections])
    files.append(File.generated(config, PAGE, content=text + "\n"))
    return files


def _section(title: str, places: list[str]) -> str:
    report, *figure = places
    shown = [f"[![The first figure of the report]({picture})]({report})" for picture in figure]
    return "\n\n".join([f"## {title}", f"[Read the report]({report})", *shown])
