"""What nobody expects, by cause: contents, things that are no files, values, names; each once made a program fail."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe\x80a: 1",
    "another encoding": 'title: "Größe"\n'.encode("latin-1"),
    "UTF-16": "title: x".encode("utf-16"),
    "null": b"null",
    "list": b"[]",
    "number": b"3",
    "text": b'"text"',
    "mapping": b"{}",
    "zeros": b"\0" * 100,
    "deep lists": b"[" * 100_000,
    "deep mappings": b'{"a":' * 100_000,
    "deep and closed": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "alias bomb": BOMB.encode(),
    "holds itself": b"a: &a [*a]",
    "merges itself": b"a: &a {<<: *a}",
    "merges a number": b"<<: 3",
    "long number": b"title: " + b"9" * 5000,
    "long number, hexadecimal": b"title: 0x" + b"f" * 50_000,
    "key that is a list": b"{[1]: 2}",
    "keys that are numbers": b"1: 2\n3: 4\n",
    "half a character": b'{"title": "\\ud800"}',
    "NUL in a value": b'{"title": "\\u0000", "code": "\\0"}',
    "code of Python": b"!!python/object/apply:os.system [ls]",
    "no such date": b"title: 2026-13-45",
    "no number": b"title: !!int abc",
    "key twice": b"title: 1\ntitle: 2\n",
    "tab": b"a:\n\t- b",
    "many values": b"[" + b"1," * 200_000 + b"1]",
    "many keys": b"".join(b"k%d: 1\n" % i for i in range(60_000)),
    "long line": b"title: " + b"x" * 900_000,
    "header only": b"run,suite\n",
    "open quote": b'a,b\n"1,2\n',
}


def fifo(file: Path) -> None:
    os.mkfifo(file)


def folder(file: Path) -> None:
    file.mkdir()


def dangling(file: Path) -> None:
    file.symlink_to("nowhere")


def loop(file: Path) -> None:
    file.symlink_to(file.name)


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def sparse(file: Path) -> None:
    with file.open("wb") as hole:
        hole.truncate(2**40)


INSTEAD: dict[str, Callable[[Path], None]] = {
    "a pipe": fifo,
    "a folder": folder,
    "a dangling link": dangling,
    "a link to itself": loop,
    "a device": endless,
    "a TiB": sparse,
}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "flipped": lambda whole: (
        whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 0x80]) + whole[len(whole) // 2 + 1 :]
    ),
    "twice": lambda whole: whole + whole,
    "cut at its end": lambda whole: whole[:-2],
}

NUMBERS = [
    "0",
    "-1",
    "1",
    "3",
    "100000000000",
    str(2**63),
    str(2**64),
    "9" * 60,
    "1e308",
    "inf",
    "-inf",
    "nan",
    "1e-320",
    "0.5",
]
NAMES = [
    "",
    " ",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "~nosuch",
    "~nosuch/x",
    "$NOSUCH",
    "x" * 300,
    "x/" * 3000,
    "x" * 100_000,
    "a b",
    "a\nb",
    "\x1b[31m",
    "Größe",
    os.fsdecode(b"\xff\xfe"),
    "nosuch",
    "timm:nosuch",
    "timm:../x",
    "nosuch:x",
    "timm:" + "x" * 5000,
    "%s{}$(ls)`ls`;'\"",
    "-1",
]
VALUES: list[Any] = [
    0,
    -1,
    1,
    10**11,
    2**63,
    2**64,
    10**30,
    10**400,
    1e308,
    1e-320,
    math.inf,
    -math.inf,
    math.nan,
    True,
    None,
    "",
    " ",
    "psap",
    "../../etc/passwd",
    "~nosuch",
    "$NOSUCH/x",
    "x" * 300,
    "x" * 15_000,
    "a\nb",
    "\x1b[31m",
    "Größe",
    "/dev/zero",
    [],
    [1],
    [[1]],
    ["x"],
    {},
    {"a": {"b": 1}},
    {"x" * 300: 1},
    [0] * 1000,
]
