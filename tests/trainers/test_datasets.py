"""Data sets: which samples in which order, read from tiny files in the true formats, fetched and checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from encoders.errors import DataError, OptionError
from trainers.datasets import Place, digits, load, source
from trainers.datasets.base import RemoteFile
from trainers.datasets.download import cache_folder, located
from trainers.datasets.idx import Mnist, read_idx

NOWHERE = "http://127.0.0.1:9/"  # where nobody answers


def test_digits_are_sixteenths_in_their_own_order() -> None:
    raw = load_digits()
    train, test = digits("train"), digits("test")
    assert train.x.shape == (1400, 64)
    assert test.x.shape == (397, 64)
    assert train.x.dtype == test.x.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([train.x, test.x]) * 16, raw.data)
    np.testing.assert_array_equal(np.concatenate([train.y, test.y]), raw.target)
    assert min(train.x.min(), test.x.min()) == 0.0
    assert max(train.x.max(), test.x.max()) == 1.0


def test_load_knows_digits_by_name_and_defaults_to_the_test_split() -> None:
    np.testing.assert_array_equal(load("digits").x, digits("test").x)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match=r"'nmist'.*digits, mnist"):
        load("nmist")
    with pytest.raises(DataError, match=r"'validation'.*train, test"):
        load("digits", "validation")
    with pytest.raises(DataError, match="of its own"):
        source("digits", 100)


# -- IDX --------------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, packed: bool = True) -> np.ndarray:
    images = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
    for name, array in (("images-idx3", images), ("labels-idx1", np.array([7, 0, 9], np.uint8))):
        path = folder / f"t10k-{name}-ubyte"
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            path.write_bytes(idx(array))
    return images


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files(tmp_path: Path, packed: bool, name: str) -> None:
    images = write_mnist(tmp_path, packed)
    found = load(name, "test", Place(tmp_path))
    assert found.x.shape == (3, 1, 28, 28)
    np.testing.assert_array_equal(np.rint(found.x[:, 0] * 255), images)
    assert found.y.tolist() == [7, 0, 9]
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load(name, "train", Place(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"abcdefgh", idx(np.zeros(3, np.uint8))[:-1], struct.pack(">HBBI", 0, 13, 1, 0)]
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not an IDX file"):
        read_idx(path)


# -- CIFAR-10 ---------------------------------------------------------------------------------------------------------


def tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def cifar_rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), rng.integers(0, 10, count, dtype=np.uint8)


@pytest.mark.parametrize("version", ["binary", "python"])
def test_cifar10_in_both_versions(tmp_path: Path, version: str) -> None:
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    batches = {name: cifar_rows(2, seed) for seed, name in enumerate(names)}
    if version == "binary":
        tar(tmp_path / "cifar-10-binary.tar.gz", {
            f"cifar-10-batches-bin/{name}.bin": np.concatenate([y[:, None], x], 1).tobytes()
            for name, (x, y) in batches.items()
        })  # fmt: skip
    else:
        tar(tmp_path / "cifar-10-python.tar.gz", {
            f"cifar-10-batches-py/{name}": pickle.dumps({b"data": x, b"labels": y.tolist()}, protocol=2)
            for name, (x, y) in batches.items()
        })  # fmt: skip
    train, test = load("cifar10", "train", Place(tmp_path)), load("cifar10", "test", Place(tmp_path))
    assert train.x.shape == (10, 3, 32, 32)
    assert train.y.tolist() == np.concatenate([batches[name][1] for name in names[:5]]).tolist()
    np.testing.assert_array_equal(np.rint(test.x.reshape(2, -1) * 255), batches["test_batch"][0])


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    tar(tmp_path / "cifar-10-python.tar.gz", {"x/test_batch": b"cos\nsystem\n(S'echo no'\ntR."})
    with pytest.raises(DataError, match=r"os\.system"):
        load("cifar10", "test", Place(tmp_path))


# -- GTSRB ------------------------------------------------------------------------------------------------------------


def ppm(colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PPM")
    return out.getvalue()


def table(*rows: tuple[str, int]) -> str:
    lines = [f"{name};30;31;5;5;25;26;{label}" for name, label in rows]
    return "\r\n".join(["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId", *lines, ""])


def test_gtsrb_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "GTSRB_Final_Training_Images.zip", "w") as archive:
        for label, colour in ((3, (255, 0, 0)), (42, (0, 0, 255))):
            folder = f"GTSRB/Final_Training/Images/{label:05}"
            archive.writestr(f"{folder}/00000_00000.ppm", ppm(colour, (30 + label, 31)))
            archive.writestr(f"{folder}/GT-{label:05}.csv", table(("00000_00000.ppm", label)))
    with zipfile.ZipFile(tmp_path / "GTSRB_Final_Test_Images.zip", "w") as archive:
        archive.writestr("GTSRB/Final_Test/Images/00000.ppm", ppm((0, 255, 0), (15, 16)))
        archive.writestr("GTSRB/Final_Test/Images/GT-final_test.test.csv", table(("00000.ppm", 0)))
    with zipfile.ZipFile(tmp_path / "GTSRB_Final_Test_GT.zip", "w") as archive:
        archive.writestr("GT-final_test.csv", table(("00000.ppm", 17)))
    train, test = load("gtsrb", "train", Place(tmp_path)), load("gtsrb", "test", Place(tmp_path))
    assert train.x.shape == (2, 3, 32, 32)
    assert train.y.tolist() == [3, 42]
    assert train.x[:, :, 0, 0].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert (test.y.tolist(), test.x[0, :, 5, 5].tolist()) == ([17], [0, 1, 0])


# -- files of one's own -----------------------------------------------------------------------------------------------


def test_an_npz_is_split_in_two_parts(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, x=np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4), y=np.arange(10) % 3)
    whole = source(str(path))
    assert whole.input_shape == (1, 4, 4)
    assert whole.classes == 3
    assert (len(whole.load("train").x), len(whole.load("test").x)) == (8, 2)
    three = source(str(path), 3)
    assert three.load("test").y.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert three.load("train").x[0, 0, 0].tolist() == pytest.approx([0, 1 / 255, 2 / 255, 3 / 255])
    with pytest.raises(DataError, match="leave some"):
        source(str(path), 10)
    with pytest.raises(DataError, match="no such file"):
        source(str(tmp_path / "none.npz"))


# -- fetching ---------------------------------------------------------------------------------------------------------


class Home(BaseHTTPRequestHandler):
    """Serves what `files` holds, promising four bytes of each."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        self.send_response(200 if self.path in self.files else 404)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(self.files.get(self.path, b"none"))

    def log_message(self, *told: object) -> None:
        pass


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Home."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Home, "files", {})
    with ThreadingHTTPServer(("127.0.0.1", 0), Home) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def remote(*urls: str) -> RemoteFile:
    return RemoteFile("data.bin", urls, hashlib.md5(b"1234").hexdigest())


def test_a_file_is_fetched_once_from_the_first_home_that_has_it(home: str, tmp_path: Path) -> None:
    Home.files["/data"] = b"1234"
    file = remote(NOWHERE, f"{home}none", f"{home}data")
    path = located("tiny", file, Place(cache=tmp_path))
    assert path.read_bytes() == b"1234"
    Home.files.clear()
    assert located("tiny", file, Place(cache=tmp_path)) == path == tmp_path / "tiny" / "data.bin"
    assert [p.name for p in path.parent.iterdir()] == ["data.bin"]


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "reason"), [(b"4321", "MD5"), (b"12", "Incomplete")])
def test_a_broken_file_is_never_used_and_never_kept(home: str, tmp_path: Path, sent: bytes, reason: str) -> None:
    file, kept = remote(f"{home}data"), tmp_path / "tiny"
    Home.files["/data"] = sent
    with pytest.raises(DataError, match=reason):
        located("tiny", file, Place(cache=tmp_path))
    assert list(kept.iterdir()) == []
    (kept / "data.bin").write_bytes(b"12")  # broken on the disk
    with pytest.raises(DataError, match=reason):
        located("tiny", file, Place(cache=tmp_path))
    Home.files["/data"] = b"1234"
    assert located("tiny", file, Place(cache=tmp_path)).read_bytes() == b"1234"


def test_offline_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mnist, "homes", (NOWHERE,))
    with pytest.raises(DataError, match=r"mnist: t10k-images.* cannot be fetched .*--data-dir") as caught:
        load("mnist", "test", Place(cache=tmp_path))
    assert "\n" not in str(caught.value)


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache_folder(Place()) == tmp_path / "plumbline"
    assert cache_folder(Place(cache=tmp_path / "own")) == tmp_path / "own"
