"""MLflow, as a mirror: a run writes its own journal, another process copies it into the tracking store.

    tracker = Tracker(state, new_head(run, experiment, tags, params))
    tracker.start(rows of the resume checkpoint)
    for each epoch: write the checkpoint (with the row in it), then tracker.log(row)
    tracker.finish(metrics, artifacts, network)       # or tracker.fail(reason)

`replay` brings every journal under a folder into the store; it is what `psap track` does. `journal_report` gives a
suite's report a journal too. The training process never
imports MLflow: no import, lock or time-out of the store can cost it time, and no death of it can harm the store.
"""

from psap.tracking.mirror import Replay, replay
from psap.tracking.records import Row, new_head
from psap.tracking.report import journal_report, tell_without_journal
from psap.tracking.tracker import Tracker

__all__ = ["Replay", "Row", "Tracker", "journal_report", "new_head", "replay", "tell_without_journal"]
