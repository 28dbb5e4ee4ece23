"""`plumbline serve` as a process: it starts, ends within ten seconds, and after `kill -9` goes on where it was."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.verifier.service.asking import ROOT, asked, ended
from verifier.cli.main import main
from verifier.cli.parser import parse
from verifier.service.serving import bound_socket
from verifier.service.settings import Settings

PATIENCE = 120.0


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The command, with one worker where `more` says nothing else, once it answers."""
    command = [sys.executable, "-m", "verifier.cli.main", "serve", "--port", "0", "--data-dir", str(folder), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        with httpx.Client(base_url=found[0], timeout=PATIENCE) as client:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def children(process: int) -> list[int]:
    """Every process that has this one above it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, new = list[int](), [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def gone(processes: list[int]) -> bool:
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        if not any(Path(f"/proc/{one}").exists() for one in processes):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, to see which processes are left")
@pytest.mark.release
def test_killed_told_and_started_again(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, client):
        run = asked(client, "0:6", "verify", radius=0.02)["id"]
        while not client.get(f"/runs/{run}").json()["counts"]["running"]:
            time.sleep(0.05)
        started = children(process.pid)
        process.kill()
        assert gone(started), "a worker outlived its server"
    with serving(tmp_path) as (process, client):
        found = ended(client, run)
        assert (found["state"], found["counts"]["certified"]) == ("finished", 6)
        long = asked(client, "0:300")["id"]
        while not client.get(f"/runs/{long}").json()["counts"]["running"]:
            time.sleep(0.05)
        started = children(process.pid)
        with client.stream("GET", f"/runs/{long}/events") as lines:
            assert next(lines.iter_lines())
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 128 + signal.SIGTERM
        assert gone(started)
    with serving(tmp_path) as (_, client):
        found = client.get(f"/runs/{long}").json()
        assert (found["state"], found["counts"]["failed"]) == ("running", 0)
        client.post(f"/runs/{long}/cancel")


def test_no_answer_waits_for_its_own_head(tmp_path: Path) -> None:
    with bound_socket(replace(Settings(data_dir=tmp_path), port=0)) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as answering:
            assert answering.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--data-dir", str(tmp_path)]) == 2
    assert "give another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--host", "0.0.0.0"], "give --token-file"),
        (["--port", "70000"], "from 0 (any that is free) to 65535"),
        (["--database", "mysql://x"], "give sqlite:///FILE or postgresql+psycopg://"),
        (["--limit", "samples"], "write NAME=NUMBER"),
        (["--limit", "sample=1"], "did you mean samples?"),
        (["--workers", "-1"], "workers -1"),
    ],
)
def test_what_cannot_be_served(
    flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--data-dir", str(tmp_path), *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_the_libraries_of_the_service_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve"]) == 2
    assert "pip install 'plumbline[service]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_server_imports_no_library_of_questions() -> None:
    program = (
        "import sys\nimport verifier.service.serving\n"
        "heavy = {'torch', 'onnxruntime', 'scipy', 'highspy', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert parse(["serve"]).host == "127.0.0.1"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.release
def test_a_cluster_answers_from_postgresql(database: str, tmp_path: Path) -> None:
    """Workers of the cluster find the database, the files and the model of the server's machine."""
    pytest.importorskip("distributed", reason="distributed is not installed: there is no cluster to ask")
    with serving(tmp_path, "--database", database, "--cluster", "local:2") as (_, client):
        run = asked(client, "0:8", "verify", radius=0.02)["id"]
        found = ended(client, run)
        assert (found["state"], found["counts"]["certified"]) == ("finished", 8)
    assert not (tmp_path / "plumbline.db").exists()
