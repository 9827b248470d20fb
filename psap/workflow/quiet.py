"""What Snakemake says, without what only its makers can read."""

import logging

# Blocks of shell code with an exception's name, of a job whose own last line was told already; and notes on rows that a
# failed job leaves as they were.
_EXCEPTIONS = {"RuleException", "CalledProcessError"}
_NOTES = ("Cannot restore ", "Restored previous version of ")


def told_in_plain_words(record: logging.LogRecord) -> bool:
    """Whether a user is to read `record`; the whole of it stays in Snakemake's own log file."""
    return getattr(record, "exception", None) not in _EXCEPTIONS and not str(record.msg).startswith(_NOTES)


def quieten(logger: logging.Logger) -> None:
    """Let the terminal show only what `told_in_plain_words` lets pass."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(told_in_plain_words)
