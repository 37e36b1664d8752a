"""MLflow's own pages, on loopback."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def test_the_ui_is_served_on_loopback_and_tells_no_process_list_its_database(tmp_path):
    """The address of a database may hold a password, and every user can read a command line."""
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "runner.py", "ui", "--runs", str(tmp_path), "--port", str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(words, cwd=ROOT, **pipes) as server:
        family = [psutil.Process(server.pid)]
        try:
            deadline = time.monotonic() + 120
            while not is_healthy(port):
                assert server.poll() is None, server.stdout.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            family += family[0].children(recursive=True)
            lines = [" ".join(process.cmdline()) for process in family]
            listening = {
                connection.laddr.ip
                for process in family
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
        finally:
            for process in reversed(family):
                process.terminate()
    assert not [line for line in lines if "sqlite" in line]
    assert listening == {"127.0.0.1"}
    assert (tmp_path / "mlflow.db").stat().st_size > 0  # it is the one that is served


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
