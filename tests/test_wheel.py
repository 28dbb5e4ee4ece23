"""The wheel, built and tried outside the checkout: what it holds, and that it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SOURCES = (
    "plumbline.py", "pyproject.toml", "README.md", "LICENSE",
    "verifier", "bounds", "encoders", "trainers", "benchmarks", "tests",
)  # fmt: skip
TRIAL = """
import sys
import plumbline, verifier, trainers
where = sys.argv[1]
assert all(module.__file__.startswith(where) for module in (plumbline, verifier, trainers)), verifier.__file__
from pathlib import Path
from trainers.datasets import digits
net = Path(trainers.__file__).parent / "nets" / "digits-64-32-32-10.onnx"
result = plumbline.distance(plumbline.load(net), digits("test").x[0])
print(result.verdict, round(result.upper, 4))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of a build is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        (source / name).symlink_to(ROOT / name)
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*line, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True, text=True)
    (found,) = folder.glob("plumbline-*.whl")
    return found


def test_what_it_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"plumbline.py", "verifier/py.typed", "verifier/pages/templates/base.html"} <= names
    assert "trainers/nets/digits-64-32-32-10.onnx" in names
    pages = ROOT / "verifier" / "service" / "pages"
    drawn = [path for kind in ("html", "css", "js", "svg") for path in pages.rglob(f"*.{kind}")]
    assert drawn
    assert {str(path.relative_to(ROOT)) for path in drawn} <= names
    assert not [name for name in names if name.startswith(("benchmarks/", "tests/", "docs/"))]
    missing = [
        str(path.relative_to(ROOT))
        for package in ("verifier", "bounds", "encoders", "trainers")
        for path in (ROOT / package).rglob("*.py")
        if str(path.relative_to(ROOT)) not in names
    ]
    assert not missing


def test_it_answers_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(place)
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(place)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(place)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["exact", "0.0526"], done.stderr
