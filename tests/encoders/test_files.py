"""Files that are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.errors import OptionError
from encoders.files import one_writer, replacing, write_whole


def test_a_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with replacing(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" whole")
    assert path.read_bytes() == b"half whole"
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"before")

    def full() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space") as caught:
        full()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", ["all of it", b"all of it"])
def test_a_whole_file_or_none(tmp_path: Path, content: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"all of it"
    monkeypatch.setattr(Path, "replace", lambda *given: (_ for _ in ()).throw(OSError("disk full")))
    for name in ("a", "b"):
        with pytest.raises(OSError, match="disk full"):
            write_whole(tmp_path / name, "something else")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"all of it"


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    first, second = one_writer(tmp_path / "out"), one_writer(tmp_path / "out")
    with first, pytest.raises(OptionError, match="another run is writing there"):
        second.__enter__()
    with one_writer(tmp_path / "out"):
        assert not list((tmp_path / "out").iterdir())
