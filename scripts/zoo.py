"""Put the network of a run into results/zoo, with its row and a model card: python scripts/zoo.py NAME RUN [ROOT].

ROOT is the folder whose checkpoints/ and results/ have the run (default: here). Which runs are in the zoo is decided
before their accuracy is known: seed 0 of psap.
"""

import shutil
import sys
from pathlib import Path

from psap.models import architecture
from psap.suites.beside_rows import CORRECT
from psap.suites.consistency import read_row
from psap.suites.paths import Paths
from psap.suites.row import Row
from psap.utils.files import write_text
from psap.utils.text import table

ZOO = Path("results/zoo")
CARD = """---
library_name: psap
tags: [image-classification, pruning]
---
# {name}

{model}, pruned by psap {start}. Made by the run `{run}`;
one seed, not chosen by its accuracy.

{numbers}

Top-1 is that of the last epoch on the test images of {source}. The dense network is the run's own baseline.

```python
import psap

network = psap.load("results/zoo/{name}").eval()  # an ordinary torch.nn.Module, for {shape}
```

`architecture.json` has the normalisation of its input and the names of its classes, `run.json` all settings and the
origin of the numbers. `psap evaluate results/zoo/{name}` scores it again and compares every image with the row.

{limits}
"""
LIMITS = {
    "digits": "It is a demonstration: 1,797 images of 8 x 8 pixels ask little of a network.",
    "cifar10": "It was trained on 10,000 of CIFAR-10's 50,000 training images, so its accuracy is below the usual.",
}


def add(name: str, run: str, root: Path) -> None:
    """Copy the network and the row of `run`, which must belong together, and write the card."""
    places, folder = Paths(root), ZOO / name
    network, results = places.checkpoints / run, places.results / run
    row = read_row(results / "run.json", run)
    assert row.result, f"{run} has no network"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*architecture.files(network), results / "run.json", results / CORRECT):
        shutil.copy(file, folder)
    architecture.verify(folder)
    write_text(folder / "README.md", card(name, row, architecture.read(folder)))


def card(name: str, row: Row, network: architecture.Architecture) -> str:
    assert row.result
    result, source = row.result, row.config["data"]["source"]
    numbers = [
        ("top-1", f"{result.dense_top1:.2f} %", f"{result.top1_last:.2f} %"),
        ("multiply-adds", f"{result.macs_dense:,}", f"{result.macs:,} (-{result.macs_reduction:.1%})"),
        ("parameters", f"{result.params_dense:,}", f"{result.params:,} (-{result.params_reduction:.1%})"),
    ]
    return CARD.format(
        name=name,
        model=row.model,
        start="from its own dense network" if row.init == "pretrained" else "while it was trained from scratch",
        run=row.run,
        source=source,
        numbers=table(("", "dense", "pruned"), numbers),
        shape=f"images (N, {network.in_channels}, {', '.join(map(str, network.extra[architecture.IMAGE_SIZE]))})",
        limits=LIMITS[source],
    )


if __name__ == "__main__":
    add(sys.argv[1], sys.argv[2], Path(sys.argv[3] if len(sys.argv) > 3 else "."))
