"""claims.json of an analysed suite: what judged it, and each claim with its verdict. Needs no pandas."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from psap.utils.files import write_json
from psap.utils.mappings import JsonObject
from psap.utils.validation import read_json

CLAIMS_FILE = "claims.json"


class _Claim(BaseModel):
    id: str
    verdict: str


class Claims(BaseModel):
    """What is read again of the file, which says more of each claim."""

    claims: list[_Claim]

    @property
    def verdicts(self) -> dict[str, str]:
        """By claim."""
        return {claim.id: claim.verdict for claim in self.claims}


def write_claims(folder: Path, judged_by: JsonObject, claims: Sequence[JsonObject]) -> None:
    """Write the claims of the suite in `folder`, behind what judged them."""
    write_json(folder / CLAIMS_FILE, judged_by | {"claims": claims})


def read_verdicts(folder: Path) -> dict[str, str]:
    """The verdicts of the suite in `folder`, by claim; none without the file. Raises PsapError where it is broken."""
    file = folder / CLAIMS_FILE
    return read_json(file, Claims, "make it again with psap analyse").verdicts if file.exists() else {}


def side_by_side(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Two suites' verdicts by claim; "" where a side has none."""
    return {claim: (first.get(claim, ""), second.get(claim, "")) for claim in dict.fromkeys([*first, *second])}
