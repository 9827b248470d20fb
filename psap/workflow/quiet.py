"""What Snakemake says, without what only its makers can read."""

import json
import logging
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

from psap.errors import suggestion

# Blocks of shell code with an exception's name, of a job whose own last line was told already; and notes on rows that a
# failed job leaves as they were.
_EXCEPTIONS = {"RuleException", "CalledProcessError"}
_NOTES = ("Cannot restore ", "Restored previous version of ")
_NO_RULE = re.compile(r"MissingRuleException:\s*No rule to produce (\S+) ")
_NOTHING = "Nothing to be done"
_LAST = "At least one job did not complete successfully."  # after our own last words, which say how to go on


def told_in_plain_words(record: logging.LogRecord, suites: Iterable[str] = ()) -> bool:
    """Whether a user is to read `record`, whose text is put in our own words where that is a target nobody makes; the
    whole of it stays in Snakemake's own log file."""
    said = str(record.msg).strip()
    if found := _NO_RULE.match(said):
        record.msg = f"psap: {found[1]!r} is neither a suite nor a file that one makes{suggestion(found[1], suites)}"
    told_before = said.startswith(_NOTES) or said.endswith(_LAST)
    return getattr(record, "exception", None) not in _EXCEPTIONS and not told_before


def quieten(logger: logging.Logger, suites: Iterable[str], events: Path | None) -> None:
    """Let the terminal show only what `told_in_plain_words` lets pass.

    Where there is a file for `events`, what happens to jobs is written there for whoever shows it, and the terminal
    gets warnings, errors and that there is nothing to do.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(partial(told_in_plain_words, suites=suites))
            if events:
                handler.addFilter(_matters)
    if events:
        logger.addHandler(_Events(events))


def _matters(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or str(record.msg).startswith(_NOTHING)


class _Events(logging.Handler):
    """Writes what happens to jobs to a file, a line of JSON each."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write what `record` tells of a job or of all; nothing else."""
        told = record.__dict__
        match told.get("event"):
            case LogEvent.RUN_INFO:
                event = {"stats": told["stats"]}
            case LogEvent.JOB_INFO:
                event = {"job": told["jobid"], "rule": told["rule_name"], "log": list(told["log"])}
            case LogEvent.JOB_FINISHED:
                event = {"job": told["job_id"]}
            case LogEvent.JOB_ERROR:
                event = {"job": told["jobid"]}
            case _:
                return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": str(told["event"]), **event}) + "\n")
