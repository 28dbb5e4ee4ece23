"""Files that mean harm are refused in one line, at once, and never accepted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.checker.small_proofs import Line, fully_connected, hexadecimal, packed, ranges, statement
from verifier.checker import UncheckableError, check, lines
from verifier.checker.lines import EXPONENT
from verifier.checker.rules import DEPTH


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Scores 1 and relu(x)."""
    return fully_connected(tmp_path / "small.onnx", [([[1]], [0]), ([[0, 1]], [1, 0])])


def proof(of: Path, **changed: Any) -> list[Line]:
    return [statement(of, [0], 0.5) | changed, ranges(0, [-0.5], [0.5]), {"goal": 1}, {"close": True}]


def refused(data: bytes, model: Path, why: str) -> None:
    verdict = check(data, model)
    assert not verdict.accepted
    assert why in verdict.why
    assert "\n" not in verdict.told()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"format": "plumbline-proof-2"}, "no format"),
        ({"norm": "l0"}, "norm is none of"),
        ({"norm": ["linf"]}, "norm is none of"),
        ({"unknown": 1}, "'unknown' is not known"),
        ({"sample": ["0x0p0", "0x0p0"]}, "the sample has 2 entries"),
        ({"sample": []}, "the sample has 0 entries"),
        ({"sample": ["nan"]}, "no hexadecimal float"),
        ({"sample": ["inf"]}, "no hexadecimal float"),
        ({"sample": ["0x1p99999999"]}, "no hexadecimal float"),
        ({"sample": ["0x1p-50000"]}, "outside -5000"),
        ({"sample": [" 0x0p0"]}, "no hexadecimal float"),
        ({"sample": [0]}, "is no list"),
        ({"sample": [0.5]}, "is no list"),
        ({"sample": [[True, 0]]}, "no whole number"),
        ({"sample": [[1 << 2048, 0]]}, "no whole number"),
        ({"sample": "0x0p0"}, "sample is no list"),
        ({"box": hexadecimal([1, 2])}, "outside the box"),
        ({"box": hexadecimal([1])}, "box has 1 entries"),
        ({"box": [hexadecimal([0, 0]), "0x1p0"]}, "box has 2 entries"),
        ({"radius": hexadecimal(-1)}, "radius is negative"),
        ({"radius": [1, 10**9]}, f"outside -{EXPONENT}"),
        ({"radius": None}, "nothing is claimed"),
        ({"margin": None}, "margin is no list"),
        ({"against": True}, "against is no whole number"),
        ({"against": -1}, "against is -1"),
        ({"against": 2}, "a class that the model has not"),
        ({"targets": []}, "targets is empty"),
        ({"targets": [1, 1]}, "names a class twice"),
        ({"targets": [2]}, "a class that the model has not"),
        ({"targets": 1}, "targets is no list"),
        ({"model": {"name": "x", "sha256": "0" * 64}}, "the model is another file"),
        ({"model": {"name": "x", "sha256": "0"}}, "not 64 hexadecimal digits"),
        ({"model": {"sha256": "0" * 64}}, "'name' is missing"),
        ({"model": "x"}, "model is no object"),
        ({"witness": [1]}, "witness is no object"),
        ({"witness": {"input": [], "distance": "0x1p0"}}, "has 0 entries"),
    ],
)
def test_statements(model: Path, changed: dict[str, Any], why: str) -> None:
    refused(packed(*proof(model, **changed)), model, why)


def test_about_may_hold_anything(model: Path) -> None:
    assert check(packed(*proof(model, about={"version": 1.5, "of": [None, True]})), model).whole


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"ranges": 0, "exponent": 10**9, "lower": [-1], "upper": [1]}, f"outside -{EXPONENT}"),
        ({"ranges": 0, "exponent": True, "lower": [-1], "upper": [1]}, "exponent is no whole number"),
        ({"ranges": 0, "exponent": 0, "lower": [True], "upper": [1]}, "lower holds what is no whole number"),
        ({"ranges": 0, "exponent": 0, "lower": [-1.0], "upper": [1]}, "lower holds what is no whole number"),
        ({"ranges": 0, "exponent": 0, "lower": [-1] * 100_000, "upper": [1]}, "lower has 100000 entries"),
        ({"ranges": 0, "exponent": 0, "lower": [], "upper": []}, "lower has 0 entries"),
        ({"ranges": False, "exponent": 0, "lower": [-1], "upper": [1]}, "ranges is no whole number"),
        ({"ranges": 0, "exponent": 0, "lower": None, "upper": [1]}, "lower is no list"),
        ({"ranges": 0, "lower": [-1], "upper": [1]}, "'exponent' is missing"),
        ({}, "the line is none of"),
    ],
)
def test_lines(model: Path, line: Line, why: str) -> None:
    start, _, *rest = proof(model)
    refused(packed(start, line, *rest), model, why)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"ranges": 0, "exponent": 0, "exponent": 0, "lower": [-1], "upper": [1]}', "a key occurs twice"),
        (b'{"ranges": 0, "exponent": NaN, "lower": [-1], "upper": [1]}', "NaN is no number"),
        (b'{"ranges": 0, "exponent": 1e999, "lower": [-1], "upper": [1]}', "exponent is no whole number"),
        (b'{"ranges": 0, "exponent": ' + b"9" * 5000 + b', "lower": [-1], "upper": [1]}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "no JSON object"),
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_what_is_no_line(model: Path, line: bytes, why: str) -> None:
    refused(gzip.compress(json.dumps(proof(model)[0]).encode() + b"\n" + line + b"\n"), model, why)


def test_what_is_no_gzip_file(model: Path) -> None:
    whole = packed(*proof(model))
    refused(b"", model, "the file is empty")
    with pytest.raises(UncheckableError, match="no proof file"):
        check(gzip.decompress(whole), model)
    refused(whole[:-9], model, "no whole gzip file")
    refused(whole[:-8] + b"\0" * 8, model, "no whole gzip file")
    refused(whole + b"more", model, "no whole gzip file")


def test_a_bomb(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 1000)
    refused(gzip.compress(b" " * 10_000), model, "longer than 1000 bytes")
    monkeypatch.setattr(lines, "LINES", 3)
    refused(packed(*proof(model)), model, "more than 3 lines")


def test_deep_trees_and_huge_numbers(model: Path) -> None:
    start = proof(model)[:3]
    refused(packed(*start, *[{"split": [0, 0]}] * (DEPTH + 5)), model, "deeper than")
    huge = {"rows": [1], "rows_exponent": EXPONENT, "signs": [[0, [0], [(1 << 2048) - 1]]], "signs_exponent": EXPONENT}
    refused(packed(*start, {"close": True} | huge), model, "the node is not closed: what must be above 0 is huge")
    for value in ([1, EXPONENT], [1, -EXPONENT]):
        caps = [{"cap": [[0, [0], "upper", value[:1], [1]]], "exponent": value[1], "weights_exponent": EXPONENT}] * 20
        assert check(packed(*start, *caps, {"close": True}), model, "exact").accepted
        assert "exact arithmetic" in check(packed(*start, *caps, {"close": True}), model, "float").why


def test_infinities_of_float_arithmetic_prove_nothing(model: Path) -> None:
    start = proof(model)[:3]
    for signs in (1, -1):
        line = {"close": True, "rows": [1 << 52], "rows_exponent": 970, "signs": [[0, [0], [signs << 52]]]}
        for power in (900, 970):
            assert not check(packed(*start, line | {"signs_exponent": power}), model, "float").accepted
