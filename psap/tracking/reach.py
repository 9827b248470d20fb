"""Whether a tracking store can be reached, found in seconds: MLflow and the drivers of databases try for minutes."""

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from psap.errors import PsapError, public
from psap.utils.files import regular

SQLITE = "sqlite:///"
_SECONDS = 5.0  # for a server to take a connection, or a database to be unlocked
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def reach(uri: str) -> None:
    """Raise OSError, sqlite3.Error or PsapError where the store at `uri` cannot; a database need not be there yet."""
    if uri.startswith(SQLITE):
        _open(Path(uri.removeprefix(SQLITE)))
        return
    try:
        address = urlsplit(uri)
        port = address.port or _PORTS.get(address.scheme.partition("+")[0])
    except ValueError:  # what it says holds parts of the address, and they may be of its password
        raise PsapError("not an address; a character of a password such as / or @ is written %2F or %40") from None
    if address.hostname and port:
        socket.create_connection((address.hostname, port), _SECONDS).close()


def without_password(uri: str) -> str:
    """`uri`, of which a server's user and password are moved to where MLflow looks for them, the environment.

    So nothing that MLflow, or what it calls, ever says of an address can hold them. A database keeps its own.
    """
    address = urlsplit(uri)
    user, at, host = address.netloc.rpartition("@")
    if not at or address.scheme not in ("http", "https"):
        return uri
    name, _, password = user.partition(":")
    os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(name), unquote(password)
    stripped = urlunsplit(address._replace(netloc=host))
    if os.environ.get("MLFLOW_TRACKING_URI") == uri:
        os.environ["MLFLOW_TRACKING_URI"] = stripped
    return stripped


def out_of_reach(uri: str, problem: str) -> str:
    """The line that says that the store at `uri` cannot be reached, why, and what to do."""
    return public(f"tracking store {uri}: {problem}; start it, or name another in MLFLOW_TRACKING_URI")


def reason(error: Exception) -> str:
    """The first line of what `error` says."""
    return public(next(iter(str(error).splitlines()), "") or type(error).__name__)


def _open(database: Path) -> None:
    """Begin to write to the `database`, if it is there: one that is locked, another's, or none, says so."""
    try:
        regular(database)
    except FileNotFoundError:
        return
    address = f"file:{quote(str(database))}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_SECONDS, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        connection.execute("pragma user_version")
        connection.execute("rollback")
