"""Sentence lengths of README and the pages of docs/: python scripts/prose.py [--limit 17]

Prose is what is outside of code, tables, headings and links' targets. A page passes when the median of its sentences
has at most `--limit` words. Exit code 1 where one does not.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GENERATED = {"coverage.md", "parameters.md", "api.md"}  # tables, mostly, made by a command


def sentences(text: str) -> list[str]:
    """The sentences of a Markdown page, in order."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    blocks: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if re.match(r"(#|\||!\[|:::|<)", line):
            blocks.append("")
        elif re.match(r"([-*]|\d+\.)\s", line):
            blocks.append(re.sub(r"^([-*]|\d+\.)\s+", "", line))
        elif line and blocks and blocks[-1]:
            blocks[-1] += " " + line
        else:
            blocks.append(line)
    plain = (re.sub(r"`[^`]*`", "code", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", block)) for block in blocks)
    found = (part.strip() for block in plain for part in re.split(r"(?<=[.!?])\s+(?=[A-Z*`(]|code)", block))
    return [sentence for sentence in found if len(sentence.split()) > 2]


def pages() -> list[Path]:
    """README and the written pages of the documentation."""
    return [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name not in GENERATED)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Sentence lengths of README and docs.")
    parser.add_argument("--limit", type=float, default=17, help="Largest median, in words.")
    parser.add_argument("--long", action="store_true", help="Print the longest sentences too.")
    options = parser.parse_args()
    failed = False
    for page in pages():
        found = sentences(page.read_text())
        lengths = [len(sentence.split()) for sentence in found]
        median = statistics.median(lengths) if lengths else 0
        failed |= median > options.limit
        print(
            f"{page.relative_to(ROOT)}: median {median:g}, longest {max(lengths, default=0)}, {len(lengths)} sentences"
        )
        if options.long:
            print(*(f"    {s}" for s in sorted(found, key=lambda s: -len(s.split()))[:3]), sep="\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
