"""Save, zero and restore all channels of one network of each of timm's families; every tensor must be as it was.

python scripts/check_backup.py                 all families, about an hour
python scripts/check_backup.py densenet mixnet   some
"""

import signal
import sys
from collections import Counter

import torch

from psap.bench.families import families, smallest
from psap.bench.networks import built
from psap.bench.readings import not_given_back
from psap.errors import PsapError
from psap.pruning.graph.find import trace_groups
from psap.pruning.graph.verify import randomise_parameters

SECONDS = 60  # of the processor, for one family
LARGEST = 100_000_000  # parameters


def outcome(networks: list[str]) -> str:
    """What became of the smallest of `networks`, its name at the end."""
    name, parameters = smallest(networks)
    if parameters > LARGEST:
        return f"too large: {name}"
    model, image, _ = built(name)
    randomise_parameters(model)
    groups = [group for group in trace_groups(model, image) if not group.reason]
    if not groups:
        return f"no groups: {name}"
    lost = not_given_back(model, groups)
    return f"LOST {lost}: {name}" if lost else f"kept: {name}, {len(groups)} groups"


class TooLong(BaseException):
    """Of a family; no `except Exception` below catches it."""


def stop(*_: object) -> None:
    """End a family that takes too long."""
    raise TooLong


def main() -> None:
    """Print a line for each family, then the counts; exit code 1 where a tensor was lost."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, stop)
    counts: Counter[str] = Counter()
    for family, networks in families().items():
        if sys.argv[1:] and family not in sys.argv[1:]:
            continue
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            said = outcome(networks)
        except PsapError as error:
            said = f"refused: {error}"
        except TooLong:
            said = f"no end in {SECONDS} s"
        except Exception as error:
            said = f"not built: {type(error).__name__} {str(error)[:100]}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        counts[said.split(":")[0].split()[0]] += 1
        print(f"{family}: {said}", flush=True)
    print(dict(counts))
    sys.exit(counts["LOST"] > 0)


if __name__ == "__main__":
    main()
