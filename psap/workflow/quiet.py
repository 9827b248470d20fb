"""What Snakemake says, without what only its makers can read."""

import logging
import re
from collections.abc import Iterable
from functools import partial

from psap.errors import suggestion

# Blocks of shell code with an exception's name, of a job whose own last line was told already; and notes on rows that a
# failed job leaves as they were.
_EXCEPTIONS = {"RuleException", "CalledProcessError"}
_NOTES = ("Cannot restore ", "Restored previous version of ")
_NO_RULE = re.compile(r"MissingRuleException:\s*No rule to produce (\S+) ")
_LAST = "At least one job did not complete successfully."  # after our own last words, which say how to go on


def told_in_plain_words(record: logging.LogRecord, suites: Iterable[str] = ()) -> bool:
    """Whether a user is to read `record`, whose text is put in our own words where that is a target nobody makes; the
    whole of it stays in Snakemake's own log file."""
    said = str(record.msg).strip()
    if found := _NO_RULE.match(said):
        record.msg = f"psap: {found[1]!r} is neither a suite nor a file that one makes{suggestion(found[1], suites)}"
    told_before = said.startswith(_NOTES) or said.endswith(_LAST)
    return getattr(record, "exception", None) not in _EXCEPTIONS and not told_before


def quieten(logger: logging.Logger, suites: Iterable[str]) -> None:
    """Let the terminal show only what `told_in_plain_words` lets pass."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(partial(told_in_plain_words, suites=suites))
