"""Take the picture of MLflow's compare page in docs/share.md: `python docs/compare_page.py mlflow.db docs/compare.png`.

It starts MLflow's own server on the store, opens the page in a headless Chromium, and takes what it shows. Needs
playwright (pip install playwright) and a Chromium: the one on PATH, or playwright's own (playwright install chromium).
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

SUITE, INIT = "demo", "pretrained"
AXES = {"x": "macs_reduction", "y": "top1_last"}
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def runs(database: Path) -> tuple[str, list[str]]:
    """The experiment of the suite, and its runs from pretrained weights, a method after the other."""
    wanted = f"{SUITE}/%/{INIT}/%"
    ask = "select experiment_id, run_uuid from runs where name like ? and lifecycle_stage = 'active' order by name"
    with closing(sqlite3.connect(database)) as store:
        found = store.execute(ask, [wanted]).fetchall()
    if not found:
        sys.exit(f"{database}: no run like {wanted}; run the suite first: make reproduce")
    return str(found[0][0]), [run for _, run in found]


@contextmanager
def server(database: Path) -> Iterator[str]:
    """MLflow's pages of the store, on a free port of this machine only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = f"-m mlflow ui --backend-store-uri sqlite:///{database} --port {port} --workers 1".split()
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen([sys.executable, *command], env=os.environ | quiet, process_group=0)
    try:
        for _ in range(300):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def photograph(page_address: str, picture: Path) -> None:
    """Open the page, choose what its chart shows, and save what a window of 1600 x 1500 pixels shows."""
    own = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=own, args=[*QUIET, *root])
        page = browser.new_page(viewport={"width": 1600, "height": 1500})
        page.goto(page_address)
        page.wait_for_selector("svg.main-svg", timeout=120_000)
        page.get_by_label("Close").click()  # the assistant's panel
        page.get_by_role("tab", name="Scatter Plot").click()
        for axis, metric in AXES.items():
            page.locator(f"#{axis}-axis-selector").click()
            page.get_by_role("option", name=metric, exact=True).click()
        page.get_by_label("Parameters - Show diff only").click()
        page.wait_for_timeout(3000)  # the chart moves into its place
        page.screenshot(path=picture)
        browser.close()


def main(database: str, picture: str) -> None:
    """Everything from the store to the picture."""
    experiment, chosen = runs(Path(database))
    with server(Path(database).resolve()) as address:
        query = f"runs={json.dumps(chosen)}&experiments={json.dumps([experiment])}"
        photograph(f"{address}/#/compare-runs?{query}", Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
