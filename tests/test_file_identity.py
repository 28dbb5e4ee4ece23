"""A model is all of its files: weights in a file beside it are part of what is hashed, cached and sent to workers."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import PlumblineError
from tests.small_files import gemm, head, refusal, written
from verifier.cli.main import main

PIXELS = 40


def external(folder: Path, bias: float) -> Path:
    """Scores bias - x0 and x0; the weights lie in net.data, as long and as old whatever they are."""
    weight = np.zeros((2, PIXELS))
    weight[:, 0] = [-1, 1]
    path = written(folder / "net.onnx", [gemm("x")], head(weight, [bias, 0]), inputs=(1, PIXELS))
    (folder / "net.data").unlink(missing_ok=True)
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="net.data", size_threshold=0)
    for file in (path, folder / "net.data"):
        os.utime(file, ns=(10**18, 10**18))
    return path


def crossing(model: verifier.Model) -> float:
    """Class 0's score of a black picture: the bias."""
    return float(model.scores(np.zeros((1, PIXELS)))[0, 0])


def same_but_for_weights(folder: Path) -> tuple[Path, bytes, bytes]:
    """The path, and the weights of two networks whose .onnx file is the same to the byte."""
    path = external(folder, 0.25)
    first, file = (folder / "net.data").read_bytes(), path.read_bytes()
    external(folder, 1.0)
    assert path.read_bytes() == file
    second = (folder / "net.data").read_bytes()
    assert first != second
    return path, first, second


def put(path: Path, weights: bytes) -> None:
    """Other weights, a second newer than the last; the .onnx file is left alone."""
    file = path.with_suffix(".data")
    newer = file.stat().st_mtime_ns + 10**9
    file.write_bytes(weights)
    os.utime(file, ns=(newer, newer))


def test_other_weights_are_another_file(tmp_path: Path) -> None:
    path, first, second = same_but_for_weights(tmp_path)
    put(path, first)
    digest = verifier.load(path).digest
    put(path, second)
    assert verifier.load(path).digest != digest


def test_a_changed_file_of_weights_is_read_again(tmp_path: Path) -> None:
    path, first, second = same_but_for_weights(tmp_path)
    put(path, first)
    assert crossing(verifier.load(path)) == 0.25
    assert verifier.load(path) is verifier.load(path)
    put(path, second)
    assert crossing(verifier.load(path)) == 1.0


def test_a_model_in_hand_stays_what_it_was(tmp_path: Path) -> None:
    path, first, second = same_but_for_weights(tmp_path)
    put(path, first)
    model = verifier.load(path)
    put(path, second)
    assert crossing(model) == 0.25
    assert model.real(np.zeros((1, PIXELS)))[0, 0] == 0.25


def test_a_worker_notices_other_weights(tmp_path: Path) -> None:
    # What a worker unpickles is the network that was sent, or a refusal: never another one of the same name.
    path, first, second = same_but_for_weights(tmp_path)
    put(path, first)
    model = verifier.load(path)
    sent = pickle.dumps(model)
    assert crossing(pickle.loads(sent)) == 0.25
    put(path, second)
    try:
        received = pickle.loads(sent)
    except PlumblineError as error:
        refusal(error, "net.onnx", "net.data")
        return
    assert (received.digest == model.digest) == (crossing(received) == 0.25)


@pytest.mark.parametrize("beside", [True, False])
def test_a_link_to_a_file_with_weights(beside: bool, tmp_path: Path) -> None:
    # Weights lie beside the name that a file was given by, which may be a link, as in a cache of downloads.
    (tmp_path / "held").mkdir()
    path, first, second = same_but_for_weights(tmp_path / "held")
    link = tmp_path / "net.onnx"
    link.symlink_to(path)
    if not beside:
        with pytest.raises(PlumblineError) as caught:
            verifier.load(link)
        refusal(caught.value, "net.data")
        return
    (tmp_path / "net.data").symlink_to(path.with_suffix(".data"))
    put(path, first)
    assert crossing(verifier.load(link)) == 0.25
    put(path, second)
    assert crossing(verifier.load(link)) == 1.0


def test_weights_that_are_missing_take_one_line(tmp_path: Path) -> None:
    path = external(tmp_path, 1.0)
    (tmp_path / "net.data").unlink()
    with pytest.raises(PlumblineError) as caught:
        verifier.load(path)
    refusal(caught.value, "net.data", "external")


def ask(path: Path, folder: Path, *more: str) -> int:
    """`plumbline distance` of the black pictures, into one journal."""
    np.savez(folder / "x.npz", x=np.zeros((2, PIXELS), dtype=np.float32))
    journal = str(folder / "r.jsonl")
    return main(["distance", str(path), "--data", str(folder / "x.npz"), "--json", journal, *more])


def test_a_journal_is_of_one_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, first, second = same_but_for_weights(tmp_path)
    put(path, first)
    assert ask(path, tmp_path, "--samples", "0:1") == 0
    before = (tmp_path / "r.jsonl").read_bytes()
    put(path, second)
    capsys.readouterr()
    assert ask(path, tmp_path, "--samples", "0:2") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another run" in error
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_the_same_network_goes_on_in_its_journal(tmp_path: Path) -> None:
    path = external(tmp_path, 1.0)
    assert ask(path, tmp_path, "--samples", "0:1") == 0
    assert ask(path, tmp_path, "--samples", "0:2") == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) >= 2
