"""Whether rows are those of the networks in checkpoints/."""

from contextlib import suppress
from pathlib import Path

from psap.errors import PsapError
from psap.models import architecture
from psap.suites.paths import CHECKPOINTS
from psap.utils.validation import read_written


def of_other_networks(folder: Path, suite: str) -> list[str]:
    """The runs of `suite` whose row in `folder` was made with other weights than checkpoints/ has.

    A row says the digest of its network's weights. Where that is not recorded, or there is no network, or a broken one,
    nothing contradicts the row.
    """
    found = []
    for row in sorted(folder.rglob("run.json")):
        run = f"{suite}/{row.parent.relative_to(folder).as_posix()}"
        made = read_written(row)["provenance"].get("network")
        with suppress(PsapError):
            if made and architecture.read(CHECKPOINTS / run).sha256 != made:
                found.append(run)
    return found
