"""A command run in a fork: nothing of it can be told from one with a process of its own, whichever end is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psutil
import pytest

SERVER = """
import sys
from psap.utils.forking import serve
def prepare(): print("prepared", flush=True)
words = serve(sys.argv[1], prepare)
exec(words[0])
"""
ASKER = "import sys; from psap.utils.forking import ask; sys.exit(ask(*sys.argv[1:2], sys.argv[2:]))"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "s")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for(lambda: (tmp_path / "s").exists())
        yield process
        process.kill()


class Asker(Protocol):
    """Starts a process that asks for `code` to be run, with `more` in its environment."""

    def __call__(self, code: str, **more: str) -> "subprocess.Popen[str]": ...


@pytest.fixture
def asker(server: object, tmp_path: Path) -> Iterator[Asker]:
    """Start a process that asks for Python code to be run; what is left of them is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", ASKER, str(tmp_path / "s"), code]
        environment, pipe = ENVIRONMENT | more, subprocess.PIPE
        started.append(
            subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sleeper(asker: Asker, code: str = "") -> tuple["subprocess.Popen[str]", int]:
    """An asker whose fork sleeps, and the fork's number."""
    process = asker(f"{code}\nimport os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    assert process.stdout
    return process, int(process.stdout.readline())


def test_arguments_folder_environment_and_files_are_the_askers(asker: Asker, tmp_path: Path) -> None:
    code = (
        "import json, os, sys\n"
        "print(json.dumps([os.getcwd(), os.environ['WORD'], words[1:], sys.stdin.read()]))\n"
        "print('said', file=sys.stderr)\nsys.exit(7)"
    )
    process = asker(code, WORD="ä\udcff")
    out, err = process.communicate("given")
    assert (json.loads(out), err, process.returncode) == ([str(tmp_path), "ä\udcff", [], "given"], "said\n", 7)


def test_it_prepares_once_and_every_command_has_a_process_of_its_own(
    asker: Asker, server: subprocess.Popen[str]
) -> None:
    numbers = {asker("import os; print(os.getpid())").communicate()[0] for _ in range(3)}
    assert len(numbers) == 3
    assert server.stdin and server.stdout
    server.stdin.close()
    assert server.stdout.read() == "prepared\n" and server.wait() == 0


def test_a_signal_reaches_the_fork_and_its_death_is_the_askers(asker: Asker) -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(9))"
    process, _ = sleeper(asker, code)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 9
    process, _ = sleeper(asker)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM


def test_a_signal_waits_until_there_is_a_fork_to_hand_it_to(tmp_path: Path) -> None:
    """The other end answers only once the signal is there: before, it ended the asker, and the fork was killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        command = [sys.executable, "-c", ASKER, str(tmp_path / "s"), ""]
        with subprocess.Popen(command, env=ENVIRONMENT) as asker, listener.accept()[0] as connection:
            fork = subprocess.Popen(["sleep", "60"])
            asker.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            connection.sendall(fork.pid.to_bytes(4, signed=True))
            assert fork.wait(30) == -signal.SIGTERM
            connection.sendall((3).to_bytes(4, signed=True))
            assert asker.wait(30) == 3


def test_no_fork_outlives_its_asker_or_the_server(asker: Asker, server: subprocess.Popen[str]) -> None:
    process, fork = sleeper(asker)
    process.kill()
    wait_for(lambda: not psutil.pid_exists(fork))
    process, fork = sleeper(asker)
    server.kill()
    assert process.wait(30) == 1
    wait_for(lambda: not psutil.pid_exists(fork))


def test_the_last_fork_may_end_after_the_workflow(asker: Asker, server: subprocess.Popen[str]) -> None:
    process, fork = sleeper(asker)
    assert server.stdin
    server.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(0.3)
    os.kill(fork, signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM and server.wait(30) == 0


def test_who_wants_other_threads_or_finds_no_server_runs_by_itself(asker: Asker, server: subprocess.Popen[str]) -> None:
    assert asker("raise SystemExit(5)").wait(30) == 5
    refused = asker("raise SystemExit(5)", OMP_NUM_THREADS="2")
    assert refused.wait(30) == 0  # sys.exit(None)
    server.kill()
    server.wait()
    assert asker("raise SystemExit(5)").wait(30) == 0
