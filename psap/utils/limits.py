"""The limits that a shell sets for its programs."""

import resource

from psap.errors import PsapError

_LEAST = 4  # GiB: torch's libraries alone take 3.3


def check_memory_limit() -> None:
    """Raise PsapError where `ulimit -v` leaves no room for torch: its libraries would abort, or wait for ever."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < _LEAST * 2**30:  # no limit is -1
        raise PsapError(f"`ulimit -v` leaves {limit / 2**30:.1f} GiB of memory; give it {_LEAST} GiB or more")
