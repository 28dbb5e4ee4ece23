"""The lines of a proof file as strict JSON, and its numbers as exact fractions.

("The file" of docs/reference/proof-format.md.) A proof may come from anybody, so everything has a stated limit here:
what exceeds one is refused in one line, before it costs time or memory.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from verifier.checker.errors import RefusedError, UncheckableError

Scaled = tuple[list[int], int]  # whole numbers, and the exponent of all

MAGIC = b"\x1f\x8b"  # with which every gzip file begins
LINE_BYTES = 1 << 24  # of one line, unpacked
LINES = 100_000_000
EXPONENT = 5000  # of two, of either sign
BITS = 2048  # of a whole number
SPARE_BITS = 60  # beyond those of its denominator, to which a fraction that is not dyadic is rounded
HEXADECIMAL = re.compile(r"(-?)0x([0-9a-f]{1,64})(?:\.([0-9a-f]{0,64}))?p([+-]?[0-9]{1,5})", re.IGNORECASE)


def read_lines(proof: Path | bytes) -> Iterator[dict[str, Any]]:
    """Each line's object in turn; only one is held in memory."""
    packed: BinaryIO = io.BytesIO(proof) if isinstance(proof, bytes) else proof.open("rb")
    if (begin := packed.read(2)) and begin != MAGIC:
        packed.close()
        raise UncheckableError("it is no proof file: a proof is compressed by gzip")
    packed.seek(0)
    with packed, gzip.GzipFile(fileobj=packed, mode="rb") as unpacked:
        for _ in range(LINES):
            try:
                line = unpacked.readline(LINE_BYTES + 1)
            except (EOFError, OSError, zlib.error) as error:
                raise RefusedError(f"the file is no whole gzip file ({error})") from None
            if not line:
                return
            if len(line) > LINE_BYTES:
                raise RefusedError(f"the line is longer than {LINE_BYTES} bytes")
            yield parsed(line)
    raise RefusedError(f"the file has more than {LINES} lines")


def parsed(line: bytes) -> dict[str, Any]:
    """One line as JSON, in which no key occurs twice and every number is one."""
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the line is not JSON ({' '.join(str(error).split())[:80]})") from None
    if not isinstance(found, dict):
        raise RefusedError("the line is no JSON object")
    return cast("dict[str, Any]", found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def only(found: dict[str, Any], needed: Sequence[str], optional: Sequence[str] = ()) -> None:
    """All keys that are needed are there, and none that is not known."""
    missing = [key for key in needed if key not in found]
    if missing:
        raise RefusedError(f"the key {missing[0]!r} is missing")
    unknown = [key for key in found if key not in needed and key not in optional]
    if unknown:
        raise RefusedError(f"the key {unknown[0][:40]!r} is not known here")


def integer(found: Any, what: str, least: int | None = None, greatest: int | None = None) -> int:
    """A whole number, which `true` and `1.0` are not, within limits; without them, of at most so many bits."""
    if type(found) is not int or found.bit_length() > BITS:
        raise RefusedError(f"{what} is no whole number of at most {BITS} bits")
    if (least is not None and found < least) or (greatest is not None and found > greatest):
        raise RefusedError(f"{what} is {str(found)[:20]}, outside {least} … {'' if greatest is None else greatest}")
    return found


def integers(found: Any, what: str, length: int | None = None, least: int | None = None) -> list[int]:
    """A list of whole numbers, as many as there must be."""
    listed = a_list(found, what, length)
    if set(map(type, listed)) - {int} or max(max(listed, default=0), -min(listed, default=0)).bit_length() > BITS:
        raise RefusedError(f"{what} holds what is no whole number of at most {BITS} bits")
    if least is not None and listed and min(listed) < least:
        raise RefusedError(f"{what} holds {str(min(listed))[:20]}, less than {least}")
    return listed


def exponent(found: Any, what: str) -> int:
    """An exponent of two."""
    return integer(found, what, -EXPONENT, EXPONENT)


def scaled(found: Any, what: str, length: int, bits: int | None = None, power: int = EXPONENT) -> Scaled:
    """Numbers [[m…], e]; where bits are given, not negative, and of at most so many."""
    mantissas, of_two = a_list(found, what, 2)
    mantissas = integers(mantissas, what, length, None if bits is None else 0)
    if bits is not None and max(mantissas, default=0) >> bits:
        raise RefusedError(f"{what} holds a whole number of more than {bits} bits")
    return mantissas, integer(of_two, f"the exponent of {what}", -power, power)


def a_list(found: Any, what: str, length: int | None = None) -> list[Any]:
    """A list, as long as it must be."""
    if not isinstance(found, list):
        raise RefusedError(f"{what} is no list")
    if length is not None and len(found) != length:
        raise RefusedError(f"{what} has {len(found)} entries, where there must be {length}")
    return found


def number(found: Any, what: str) -> Fraction:
    """A hexadecimal float, or a pair of an integer and an exponent, exactly."""
    if isinstance(found, str):
        match = HEXADECIMAL.fullmatch(found)
        if match is None:
            raise RefusedError(f"{what} is {found[:40]!r}, no hexadecimal float")
        sign, whole, part, power = match[1], match[2], match[3] or "", int(match[4])
        mantissa, power = int(whole + part, 16), exponent(power - 4 * len(part), what)
        return dyadic(-mantissa if sign else mantissa, power)
    pair = a_list(found, what, 2)
    return dyadic(integer(pair[0], what), exponent(pair[1], what))


def dyadic(mantissa: int, power: int) -> Fraction:
    """m · 2^e."""
    return Fraction(mantissa << power) if power >= 0 else Fraction(mantissa, 1 << -power)


def dyadic_above(number: Fraction) -> Fraction:
    """The number itself where it is dyadic, else a dyadic one that is barely larger."""
    below = number.denominator
    if below & (below - 1) == 0:
        return number
    power = SPARE_BITS + below.bit_length()
    return Fraction(-(-(number.numerator << power) // below), 1 << power)
