"""claims.json is written and read in one place, which does not wait for pandas."""

import subprocess
import sys
from pathlib import Path

import pytest

from psap.analysis.claims_file import CLAIMS_FILE, read_verdicts, side_by_side, write_claims
from psap.errors import PsapError


def test_verdicts_that_were_written_are_read_again(tmp_path: Path) -> None:
    assert read_verdicts(tmp_path) == {}
    write_claims(tmp_path, {"suite": "toy"}, [{"id": "S3", "verdict": "supported", "n": 3}])
    assert read_verdicts(tmp_path) == {"S3": "supported"}


@pytest.mark.parametrize("broken", ["", "[]", '{"claims": [{"id": "S3"}]}'])
def test_a_broken_file_is_one_line(broken: str, tmp_path: Path) -> None:
    (tmp_path / CLAIMS_FILE).write_text(broken)
    with pytest.raises(PsapError, match=r"claims\.json: damaged.*; make it again with psap analyse$"):
        read_verdicts(tmp_path)


def test_a_claim_that_one_side_lacks_has_no_verdict_there() -> None:
    found = side_by_side({"S2": "supported", "S3": "equivalent"}, {"S3": "equivalent", "S5a": "supported"})
    assert found == {"S2": ("supported", ""), "S3": ("equivalent", "equivalent"), "S5a": ("", "supported")}


def test_the_end_of_reproduce_does_not_wait_for_pandas() -> None:
    code = "import sys, psap.workflow.conclusion; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "psap.analysis.claims_file" in imported and not {"pandas", "scipy", "matplotlib"} & set(imported)
