"""MLflow's pages on this machine: served until stopped, and the addresses of the suites told once they answer."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from tempfile import TemporaryFile

from psap.errors import PsapError
from psap.tracking.store import Store, tracking_uri
from psap.tracking.view import chart_page, runs_page

_HOST = "127.0.0.1"
_PATIENCE = 120.0  # seconds until the server answers; it imports for most of them


def serve_pages(port: int, tell: Callable[[str], None]) -> None:
    """Serve the store's pages on `port` of this machine until interrupted; `tell` gets a line for each suite.

    A store that is a server has pages of its own: their addresses are told, and nothing is served.
    Raises PsapError when the port is taken, or the server does not start.
    """
    uri = tracking_uri(None)
    store = Store.reached(uri)
    if store.uri.startswith("http"):
        _tell(store, store.uri.rstrip("/"), tell)
        return
    with _server(uri, port):
        _tell(store, f"http://{_HOST}:{port}", tell)
        signal.pause()


def _tell(store: Store, server: str, tell: Callable[[str], None]) -> None:
    suites = store.suites()
    for name, experiment in suites.items():
        tell(f"{name}: runs      {runs_page(server, experiment)}")
        tell(f"{' ' * len(name)}  as chart  {chart_page(server, experiment)}")
    if not suites:
        tell(f"{server}: no suite yet; psap reproduce demo makes one")


@contextmanager
def _server(uri: str, port: int) -> Iterator[None]:
    """MLflow's server, which answers when the context begins and is stopped when it ends."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise PsapError(f"port {port}: {error.strerror}; choose another: make ui PORT=5001") from None
    command = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port), "--workers", "1"]
    # By the environment, since others can read a command line and an address may hold a password.
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with TemporaryFile("w+") as said:
        server = subprocess.Popen(command, env=environment, stdout=said, stderr=said, process_group=0)
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            _wait(server, port)
            yield
        except KeyboardInterrupt:
            pass
        except TimeoutError:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it does not answer"])[-1]
            raise PsapError(f"MLflow's server did not start: {last}") from None
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # it has nothing to save
            server.wait()


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Return once `server` answers; raises TimeoutError if it ends before, or does not in time."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        # A connection alone would say nothing: a free port may connect with itself.
        with suppress(OSError, HTTPException), closing(HTTPConnection(_HOST, port, timeout=1)) as client:
            client.request("GET", "/health")
            client.getresponse()
            return
        time.sleep(0.2)
    raise TimeoutError
