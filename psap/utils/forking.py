"""Commands run in forks of one process that has imported all they need: an import of torch takes a second or two.

Whoever asks stands for the fork: signals go on to it, its exit is the asker's, and it does not outlive either end.
Arguments, folder, environment and the three standard files are the asker's.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SIZE = 4  # bytes of a number on the wire
_PR_SET_PDEATHSIG = 1


def ask(address: str, arguments: list[str]) -> int | None:
    """Let the server at `address` run the command; returns its exit code, None where no server takes it."""
    request = {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    body = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        with _signals_held():  # until there is a fork to hand them on to
            try:
                connection.connect(address)
                socket.send_fds(connection, [len(body).to_bytes(_SIZE)], [0, 1, 2])
                connection.sendall(body)
            except OSError:
                return None
            if not (fork := _number(connection)):
                return None
            signals, into = socket.socketpair()
            into.setblocking(False)
            signal.set_wakeup_fd(into.fileno())
            for number in _HANDED_ON:
                signal.signal(number, lambda number, _: None)
        while connection not in select.select([connection, signals], [], [])[0]:
            for sent in signals.recv(100):  # a byte for each signal
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(fork, sent)
        code = _number(connection)
    if code is not None and code < 0:  # as the fork died
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return 1 if code is None else code


def serve(address: str, prepare: Callable[[], None]) -> list[str]:
    """Fork for all who ask at `address` until standard input is closed and the last fork has ended.

    Returns in each fork, with the arguments of the command to run; never here. `prepare` imports what it needs, in the
    environment of the first who asks. Whoever has other numbers of threads in theirs is not taken: libraries read these
    as they are loaded.
    """
    Path(address).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks that have ended are gone
    prepared: dict[str, str] | None = None
    while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
        connection = listener.accept()[0]
        with connection, suppress(OSError, ValueError):  # who asked is gone
            request, files = _received(connection)
            threads = {name: value for name, value in request["environment"].items() if "THREADS" in name}
            if prepared is None:
                _take_over(request["environment"])
                prepare()
                gc.freeze()  # so that forks share it
                prepared = threads
            if prepared == threads and not os.fork():
                listener.close()
                _run_beside(connection, files)
                os.chdir(request["folder"])
                _take_over(request["environment"])
                return list(request["arguments"])
            for file in files:
                os.close(file)
    Path(address).unlink(missing_ok=True)
    with suppress(ChildProcessError):  # once none is left
        os.wait()
    sys.exit()


def _received(connection: socket.socket) -> tuple[Any, list[int]]:
    size, files, _, _ = socket.recv_fds(connection, _SIZE, 3)
    return json.loads(connection.recv(int.from_bytes(size), socket.MSG_WAITALL)), files


def _run_beside(connection: socket.socket, files: list[int]) -> None:
    """Fork once more: the fork returns, with its standard files, and this process waits for it and for the asker."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with_parent()
    if fork := os.fork():
        for file in files:
            os.close(file)
        _send(connection, fork)
        ended = os.pidfd_open(fork)
        if ended not in select.select([connection.fileno(), ended], [], [])[0]:  # the asker is gone
            os.kill(fork, signal.SIGKILL)
        _send(connection, os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
        os._exit(0)
    _die_with_parent()
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)


def _take_over(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(connection: socket.socket, number: int) -> None:
    with suppress(OSError):  # the asker is gone
        connection.sendall(number.to_bytes(_SIZE, signed=True))


def _number(connection: socket.socket) -> int | None:
    """The next number that the other end sends; None where it is gone."""
    try:
        sent = connection.recv(_SIZE, socket.MSG_WAITALL)
    except OSError:
        return None
    return int.from_bytes(sent, signed=True) if len(sent) == _SIZE else None
