"""Reading named columns of a CSV file, whatever else is in it."""

from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from psap.utils.validation import content

_LONGEST = 10_000  # bytes of the line that names the columns: pandas takes the square of their number


def read_columns(file: Path, types: Mapping[str, type], later: Collection[str] = (), **options: Any) -> pd.DataFrame:
    """The columns of `file` that `types` names, each as its type; those in `later` may be missing.

    Raises ValueError where the content is another, FileNotFoundError, or PsapError where it is no readable file.
    """
    data = content(file)
    if len(data.partition(b"\n")[0]) > _LONGEST:
        raise ValueError("its first line does not name columns")
    table: pd.DataFrame = pd.read_csv(BytesIO(data), usecols=types.__contains__, dtype=dict(types), **options)
    if lacking := [column for column in types if column not in table and column not in later]:
        raise ValueError(f"it has no {lacking[0]}")
    return table
