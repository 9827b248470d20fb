"""Several processes that train one network together on this machine, as torchrun would start them."""

import logging
import signal
import sys
import uuid

from psap.errors import PsapError


def launch(processes: int, *arguments: str) -> None:
    """Run `psap <arguments>` as `processes` ranks until all have ended; if one fails, the others are stopped.

    Raises PsapError, with what the first that failed has said of it.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it would repeat each failure at length
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "psap", *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = f"signal {signal.Signals(-failure.exitcode).name}" if failure.exitcode < 0 else f"code {failure.exitcode}"
        raise PsapError(
            f"rank {rank} of {processes} ended with {how}; fix the cause and run the same command again to resume"
        ) from None
