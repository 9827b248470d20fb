"""`psap ui` serves MLflow's pages, tells the addresses of the suites once they answer, and goes when it is told to."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import psutil
from tracked_helpers import FINISHED, a_head, a_row, add, address

from psap.tracking import replay
from psap.tracking.journal import begin
from psap.tracking.view import ACCURACY, REDUCTION


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ui(database: Path, port: int) -> "subprocess.Popen[str]":
    environment = os.environ | {"MLFLOW_TRACKING_URI": address(database)}
    command = [sys.executable, "-m", "psap", "ui", "--port", str(port)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=database.parent, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_it_answers_when_it_tells_the_addresses_of_the_runs(database: Path, journal: Path) -> None:
    begin(journal, a_head(), [a_row(0)])
    add(journal, FINISHED)
    assert replay(journal.parent, address(database)).failed == []
    port = free_port()
    process = ui(database, port)
    try:
        assert process.stdout
        told = [process.stdout.readline() for _ in range(2)]
        pages = [re.findall(r"http://\S+", line)[0] for line in told]
        runs = f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning"
        assert pages[0].startswith(runs) and pages[1].startswith(f"{runs}&compareRunsMode=CHART")
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as client:
            client.request("GET", "/")
            assert client.getresponse().status == 200
        with sqlite3.connect(database) as store:
            tags = dict(store.execute("select key, value from experiment_tags").fetchall())
        for page_address in pages:  # each is of a view that the experiment keeps
            view = json.loads(tags[f"mlflow.sharedViewState.{page_address.rpartition('=')[2]}"])
            assert f"metrics.`{ACCURACY}`" in view["selectedColumns"]
        (chart,) = view["compareRunCharts"]
        assert (chart["xaxis"]["key"], chart["yaxis"]["key"]) == (REDUCTION, ACCURACY)
        servers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert psutil.wait_procs(servers, timeout=10)[1] == []
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_told_in_a_line(database: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        out, err = ui(database, taken.getsockname()[1]).communicate(timeout=120)
    assert out == "" and err.count("\n") == 1
    assert err.startswith("psap: port ") and "make ui PORT=5001" in err
