"""What `psap prune` says of a network: the method that it used, and names of the user's own as they stand."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fixture_types import Psap
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from numpy.random import default_rng
from PIL import Image

import psap as library
from psap.data.dataset import load
from psap.data.photo_batches import PhotoBatches
from psap.data.schema import Photos
from psap.data.sources import prepare
from psap.models.architecture import told
from psap.standalone.request import in_words
from psap.suites.schema import MethodConfig
from psap.utils.text import escaped, fenced

CLASSES = (
    "a|b",
    "<img src=x onerror=alert(1)>",
    "`rm -rf`",
    "[x](javascript:y)",
    "_under_ *star*",
    "&lt; $x$",
    "# head",
)


@given(st.text() | st.text(alphabet="`*_[]<>|&~$#\\!-()a \n"))
def test_escaped_text_is_read_as_it_stands(text: str) -> None:
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"- x: {escaped(text)}.")
    inside = re.fullmatch(r"<ul>\n<li>x: (.*)\.</li>\n</ul>\n", rendered)
    assert inside and "<" not in inside[1]
    expected = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert html.unescape(inside[1]).rstrip() == expected


@given(st.text(alphabet="`ab \n"))
def test_a_fence_is_not_closed_from_within(text: str) -> None:
    rendered = MarkdownIt("commonmark").render(fenced(text, "yaml"))
    assert rendered.count("<code") == 1 and rendered.endswith("</code></pre>\n")


def test_a_method_is_named_for_what_it_is() -> None:
    psap = "Protective Self-Adaptive Pruning (arXiv:2303.11881; what the code makes of it: docs/method.md)"
    assert in_words(MethodConfig()) == in_words(MethodConfig(round_to=8, lr_scale=0.5)) == psap
    assert in_words(MethodConfig(window=3)) == f"{psap}, with window other than its defaults"
    plain = MethodConfig(criterion="l1", allocation="uniform", reconstruction="hard")
    assert in_words(plain) == "criterion l1, allocation uniform, reconstruction hard, schedule cubic"
    for part, name in (("criterion", "fpgm"), ("allocation", "global"), ("reconstruction", "soft")):
        words = in_words(MethodConfig(**{part: name}))
        assert f"{part} {name}" in words and "Protective" not in words


def test_names_of_the_users_own_have_no_effect(
    tmp_path: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = default_rng(0)
    for name in CLASSES:
        (Path("p ```") / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(numbers.integers(0, 255, (32, 32, 3), dtype="uint8")).save(
                Path("p ```") / name / f"{i}.png"
            )
    Path("parts.py").write_text("")
    out = 'new "net"\n\n```\n$HOME'
    method = {"criterion": "l1", "allocation": "uniform", "reconstruction": "hard", "code": "parts.py"}
    request = {
        "model": "resnet8",
        "data": "p ```",
        "size": 32,
        "target": 0.3,
        "out": out,
        "epochs": 1,
        "method": method,
    }
    Path("request.yaml").write_text(yaml.safe_dump(request))
    code, said, _ = psap("prune", "--allow-code", "request.yaml")
    assert code == 0 and "method    criterion l1, allocation uniform, reconstruction hard" in said
    card = (Path(out) / "README.md").read_text()
    assert "with criterion l1, allocation uniform, reconstruction hard, schedule cubic." in card
    assert "Protective" not in card and "request.yaml --allow-code" in card
    blocks = [token.content for token in MarkdownIt("commonmark").parse(card) if token.type == "fence"]
    assert yaml.safe_load(blocks[1]) == request | {"method": method | {"round_to": 8}}
    made: dict[str, Any] = {"psap": library}
    Image.open(next(Path("p ```").rglob("0.png"))).resize((50, 40)).save("image.png")
    exec(blocks[0].replace("import psap\n", ""), made)
    assert capsys.readouterr().out.split()[0] in {name.split()[0] for name in CLASSES}
    # As evaluation here prepares an image.
    made["image"].save(Path("p ```") / min(CLASSES) / "0.png")
    prepare("folder", "p ```", tmp_path / "data.safetensors", as_photos=True)
    data = load(tmp_path / "data.safetensors", Path("p ```"))
    photos = Photos(size=32, min_area=1.0)
    for split in (data.train, data.test):
        (batch,) = PhotoBatches(split, len(split), photos, train=False).epoch(0)
        for number, expected in enumerate(batch[0]):
            found = made["prepare"](Image.open(split.images.path(number)))
            assert torch.allclose(found, expected, atol=1e-5)
    kept = told(Path(out))
    assert kept["class_names"] == sorted(CLASSES) and kept["preprocessing"] == {
        **{"size": [32, 32], "resize": 37, "interpolation": "bilinear"},
        **{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    }
    rendered = MarkdownIt("commonmark").enable("table").render(card.partition("---\n# ")[2])
    assert "<img" not in rendered and "<a " not in rendered and "<em>" not in rendered
    assert html.escape(", ".join(sorted(CLASSES)), quote=False) in rendered.replace("&quot;", '"')
    page = (Path(out) / "report.html").read_text()
    assert "<img src=x" not in page and "Protective" not in page
