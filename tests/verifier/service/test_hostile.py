"""Files and requests that mean harm: a clear refusal, nothing left behind, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from encoders.errors import DataError
from tests.verifier.service.asking import NET, uploaded
from tests.verifier.service.conftest import serving
from tests.verifier.service.test_api import npz, refused
from verifier.service.access import Tokens
from verifier.service.api.guard import Guard
from verifier.service.errors import NotThereError, TooLargeError
from verifier.service.files import Folder, Remote, files_at, laid_out, plain_name
from verifier.service.inspection import check_declared, isolated
from verifier.service.settings import Limits, Settings


@pytest.fixture
def real(settings: Settings) -> Iterator[httpx.Client]:
    """A service that reads files in processes of their own, which may take little."""
    little = Limits(upload_bytes=4 * 2**20, data_bytes=2**20, inputs=1000, neurons=1000, reading_seconds=60.0)
    with serving(replace(settings, limits=little)) as (client, _):
        yield client


def left_behind(settings: Settings) -> list[Path]:
    """Everything but the database."""
    return [p for p in settings.data_dir.rglob("*") if p.is_file() and not p.name.startswith("plumbline.db")]


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """An .npy that says of itself what it is not."""
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": descr, "fortran_order": False, "shape": shape})
    return held.getvalue() + b"\0" * 16


def zipped(name: str, content: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return held.getvalue()


def pickled() -> bytes:
    held = io.BytesIO()
    np.save(held, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return held.getvalue()


def picture(side: int) -> bytes:
    held = io.BytesIO()
    Image.new("L", (side, side)).save(held, "PNG")
    return held.getvalue()


DATA = {
    "large.npy": (header((2**40,)), 413),
    "overflow.npy": (header((2**62, 2**62)), 413),
    "large.npz": (zipped("x.npy", header((2**40,))), 413),
    "bomb.npz": (zipped("x.npy", b"\0" * 3 * 2**20), 422),
    "objects.npy": (pickled(), 422),
    "objects.npz": (zipped("x.npy", pickled()), 422),
    "text.npy": (b"no array", 422),
    "text.npz": (b"no archive", 422),
    "cut.npz": (npz(x=np.zeros((3, 4)))[:-30], 422),
    "other.npz": (npz(z=np.zeros((3, 4))), 422),
    "nan.npz": (npz(x=np.full((3, 4), np.nan)), 422),
    "shape.npy": (header((-1,)), 422),
    "large.png": (picture(3000), 413),
    "text.png": (b"no picture", 422),
    "data.txt": (b"x", 422),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.fewer(5)
def test_data_that_means_harm(settings: Settings, reading_here: None, name: str) -> None:
    limits = replace(settings.limits, data_bytes=2**20)
    content, status = DATA[name]
    with serving(replace(settings, limits=limits)) as (client, _):
        refused(client.post("/data", files={"files": (name, content)}), status)
        assert left_behind(settings) == []


def wide(size: int) -> bytes:
    """A model with more inputs than are taken."""
    node = helper.make_node("Gemm", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node], "wide", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [size, 2], np.zeros(2 * size, dtype=np.float32))],
    )  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


def claiming(size: int) -> bytes:
    """A model whose weights say that they are larger than they are."""
    model = onnx.load(NET)
    model.graph.initializer[0].dims[0] = size
    return bytes(model.SerializeToString())


def outside(location: str) -> bytes:
    """A model whose weights lie elsewhere."""
    model = onnx.load(NET)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return bytes(model.SerializeToString())


@pytest.mark.slow
def test_models_that_mean_harm(real: httpx.Client, settings: Settings) -> None:
    hostile = {
        "wide": wide(2000), "claiming": claiming(2**50), "outside": outside("../../../../etc/passwd"),
        "absolute": outside("/etc/passwd"), "cut": NET.read_bytes()[:500], "empty": b"", "text": b"no model" * 100,
    }  # fmt: skip
    for name, content in hostile.items():
        answer = real.post("/models", files={"files": ("net.onnx", content)})
        sentence = refused(answer, 413 if name == "wide" else 422)
        assert str(settings.data_dir) not in sentence
        assert "root:" not in sentence
    assert left_behind(settings) == []
    assert real.get("/models").json()["total"] == 0


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def take(size: int) -> int:
    return len(bytearray(size))


def crash() -> None:
    import os

    os.abort()


@pytest.mark.slow
def test_what_never_ends_or_takes_everything_costs_one_line(tmp_path: Path) -> None:
    limits = Limits(reading_seconds=60.0, reading_memory=2**30)
    assert isolated(limits, tmp_path, take, 2**20) == 2**20  # and the process that the others fork from is warm
    with pytest.raises(DataError, match="more memory than is allowed"):
        isolated(limits, tmp_path, take, 2**32)
    with pytest.raises(DataError, match="crashes"):
        isolated(limits, tmp_path, crash)
    with pytest.raises(DataError, match=r"more than 0\.5 s"):
        isolated(replace(limits, reading_seconds=0.5), tmp_path, sleep, 60.0)


def test_others_are_answered_while_a_file_is_read(real: httpx.Client) -> None:
    done = threading.Thread(target=uploaded, args=(real,))
    done.start()
    assert real.get("/limits").status_code == 200
    done.join()
    assert real.get("/models").json()["total"] == 1


NAMES = ["../net.onnx", "..\\net.onnx", "/etc/net.onnx", "a/b.onnx", ".onnx", "a\0.onnx", "a\nb.onnx", "x" * 300, ""]


@pytest.mark.parametrize("name", NAMES)
def test_names_never_become_paths(name: str) -> None:
    with pytest.raises(DataError, match="file name"):
        plain_name(name)


def test_uploads_under_hostile_names(client: httpx.Client, settings: Settings) -> None:
    for name in ("../net.onnx", "a/b.onnx", "net\r\nX-Evil: 1.onnx"):
        answer = client.post("/models", files={"files": (name, NET.read_bytes())})
        assert answer.status_code == 422
        assert "x-evil" not in answer.headers
    twice = [("files", ("net.onnx", NET.read_bytes()))] * 2
    assert "two files have it" in refused(client.post("/models", files=twice), 422)
    assert left_behind(settings) == []


@pytest.mark.parametrize("path", ["/runs/..%2f..%2fetc", "/models/%00", "/static/../settings.py", "/runs/%0d%0aX: 1"])
@pytest.mark.fewer(2)
def test_paths_lead_nowhere_else(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "x" not in answer.headers


def test_too_large_is_refused_before_it_is_read(real: httpx.Client, settings: Settings) -> None:
    assert "4,194,304 bytes" in refused(real.post("/models", files={"files": ("n.onnx", b"\0" * 5 * 2**20)}), 413)
    assert "1,048,576 bytes" in refused(real.post("/runs", content=b" " * 2**21), 413)

    def pieces() -> Iterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; name=files; filename=n.onnx\r\n\r\n"
        for _ in range(100):
            yield b"\0" * 2**16

    told = {"content-type": "multipart/form-data; boundary=b"}
    refused(real.post("/models", content=pieces(), headers=told), 413)
    assert left_behind(settings) == []


def test_who_stops_sending_is_sent_away() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    async def asking() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        first = iter([{"type": "http.request", "body": b"a", "more_body": True}])

        async def receive() -> dict[str, Any]:
            for message in first:
                return message
            await asyncio.sleep(60.0)
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/models", "headers": [(b"host", b"localhost")]}
        await Guard(application, Tokens(None), Limits(request_seconds=0.05))(scope, receive, send)
        return sent

    assert asyncio.run(asking())[0]["status"] == 408


@pytest.mark.parametrize("url", ["FOLDER", "memory://plumbline-test"])
def test_files_by_their_content(tmp_path: Path, url: str) -> None:
    files = files_at(str(tmp_path / "files") if url == "FOLDER" else url)
    assert isinstance(files, Folder if url == "FOLDER" else Remote)
    digest = files.put(b"content")
    assert files.put(io.BytesIO(b"content")) == digest
    with files.open(digest) as file:
        assert file.read() == b"content"
    folder = laid_out(files, [("net.onnx", digest)], tmp_path / "cache" / "a")
    assert laid_out(files, [("net.onnx", digest)], folder) == folder
    assert [path.name for path in folder.iterdir()] == ["net.onnx"]
    files.delete(digest)
    files.delete(digest)
    with pytest.raises(NotThereError, match="is gone"):
        files.open(digest)
    for name in ("../x", digest[:-1], digest.upper(), ""):
        with pytest.raises(NotThereError):
            files.open(name)


def test_the_sizes_that_an_archive_declares_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(npz(x=np.zeros(1000), y=np.zeros(1000)))
    check_declared(tmp_path / "d.npz", 17_000)
    with pytest.raises(TooLargeError, match="at most 15,000"):
        check_declared(tmp_path / "d.npz", 15_000)
