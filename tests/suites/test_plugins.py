"""A file of a user's own parts that fails, exits, or does not come to its end: one line, and never success."""

import threading
import time
from pathlib import Path

import pytest
from fixture_types import Psap

from psap.errors import PsapError
from psap.suites import plugins

CODES = {
    "raise SystemExit(0)": "cannot be run: SystemExit: 0",
    "import sys; sys.exit()": "cannot be run: SystemExit: ",
    "raise BaseException('line\\nline')": "cannot be run: BaseException: line",
    "raise GeneratorExit": "cannot be run: GeneratorExit: ",
    "1 / 0": "cannot be run: ZeroDivisionError: division by zero",
    "def f(:": "cannot be run: SyntaxError: ",
    "a = 'a' + b'\\xff'.decode()": "cannot be run: UnicodeDecodeError: ",
    "def f(): f()\nf()": "cannot be run: RecursionError: ",
    "while True: pass": "does not end",
    "while True:\n  try:\n    sum(range(9999))\n  except Exception: pass": "does not end",
    "for i in iter(int, 1): pass": "does not end",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", CODES)
def test_it_ends_in_one_line(code: str, tmp_path: Path) -> None:
    file = tmp_path / "parts.py"
    file.write_text(code)
    with pytest.raises(PsapError) as caught:
        plugins.load(file)
    said = str(caught.value)
    assert said.startswith(f"code: {file} ") and CODES[code] in said and "\n" not in said


@pytest.mark.usefixtures("impatient")
def test_the_limit_is_for_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("total = sum(range(1000))")
    plugins.load(tmp_path / "parts.py")
    begun = time.process_time()
    while time.process_time() < begun + 0.5:  # longer than the limit
        pass


@pytest.mark.parametrize("name", ["parts", "parts.py", "folder.py", "a\0b.py"])
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("no suffix")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(PsapError, match="is no Python file"):
        plugins.load(tmp_path / name)


def test_another_thread_may_load_it_too(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()")
    thread = threading.Thread(target=plugins.load, args=[tmp_path / "parts.py"])
    thread.start()
    thread.join()
    assert (tmp_path / "ran").exists()


REQUEST = "model: resnet8\ndata: digits\ntarget: 0.5\nout: new\nmethod: {code: parts.py}\n"


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--round-to=2"]])
def test_an_order_runs_no_code_unless_that_is_allowed(
    more: list[str], tmp_path: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("request.yaml").write_text(REQUEST)
    Path("parts.py").write_text("import pathlib\npathlib.Path('ran').touch()\nraise SystemExit(0)")
    code, _, err = psap("prune", *more, "request.yaml")
    assert code == 2 and not Path("ran").exists()
    assert err == (
        "psap: request.yaml: method.code: this request runs the Python file 'parts.py'; read that file, then give "
        "--allow-code\n"
    )
    code, _, err = psap("prune", *more, "--allow-code", "request.yaml")
    assert code == 2 and Path("ran").exists() and not Path("new").exists()
    assert err == "psap: request.yaml: code: parts.py cannot be run: SystemExit: 0\n"


@pytest.mark.parametrize("method", ["psap", "[1]", "3"])
def test_a_method_that_is_none_is_one_line(
    method: str, tmp_path: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("request.yaml").write_text(REQUEST.replace("{code: parts.py}", method))
    code, _, err = psap("prune", "--round-to=2", "request.yaml")
    assert code == 2 and err.startswith("psap: request.yaml: method: ") and err.count("\n") == 1
