"""Imports only ever point down the list of folders, and modules form no circle; read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the top down: a module may import what stands below it, and its own line. The longest line that fits counts.
FOLDERS = """
plumbline
benchmarks
verifier.cli
verifier.service
verifier.service.pages
verifier.studies.curve
verifier.studies.comparison
verifier.studies.gap_report
verifier.studies.data_scale
verifier.studies.attacks
verifier.studies.wilson
verifier.pages
verifier.runs
verifier.proofs
verifier.margin_answer verifier.several_networks verifier.network_difference verifier.perturbations
verifier.quantised_loss
verifier.answer verifier.property_answer verifier.greatest_value
verifier.sample_question
verifier.goals verifier.regions verifier.why_open
verifier.options
verifier.engines.registry
verifier.engines.auto verifier.engines.auto_grid
verifier.engines.adapters
verifier.engines.mixed_integer
verifier.engines.adversary_ranges
verifier.engines.on_grid verifier.engines.quantised
verifier.engines.phase_search verifier.engines.input_splitting verifier.engines.variable_splitting
verifier.engines.base
verifier.batching
verifier.question
verifier
trainers
bounds.lower
bounds.attacks
bounds.boxes
bounds.tightening
bounds.semidefinite
bounds.discrete
bounds.nodes
bounds.envelopes
bounds.reduced_net
bounds.execution_error
bounds.propagation
bounds.geometry
bounds
encoders.quantised
encoders.onnx
encoders.solvers
encoders.programs
encoders.properties
encoders.layer_graph
encoders
verifier.checker
"""
ORDER = {name: level for level, line in enumerate(FOLDERS.split("\n")) for name in line.split()}
PACKAGES = ("plumbline", "benchmarks", "verifier", "trainers", "bounds", "encoders")


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    paths = [ROOT / "plumbline.py", *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return dict(zip(names, paths, strict=True))


@cache
def imported(name: str) -> frozenset[str]:
    """The project's modules that a module imports, wherever it does, but for types that nobody imports when it runs."""

    def executed(node: ast.AST) -> Iterator[ast.AST]:
        yield node
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            for child in ast.iter_child_nodes(node):
                yield from executed(child)

    def found() -> Iterator[str]:
        for node in executed(ast.parse(modules()[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (one if one in modules() else node.module for one in inner)

    return frozenset(one for one in found() if one in modules() and one != name)


def level_of(name: str) -> int:
    """How far down a module stands; a package's own file stands with what the package is listed as."""
    while name not in ORDER:
        name = name.rpartition(".")[0]
    return ORDER[name]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str) -> None:
    upward = [
        f"{name} imports {other}"
        for name in modules()
        if name.partition(".")[0] == package
        for other in imported(name)
        if level_of(other) < level_of(name)
    ]
    assert not upward, "\n".join(upward)


def test_no_circle() -> None:
    try:
        TopologicalSorter({name: imported(name) for name in modules()}).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' → '.join(error.args[1])}")


def test_every_folder_of_the_list_is_there() -> None:
    assert set(ORDER) <= set(modules())


def test_what_points_up_would_be_seen() -> None:
    assert level_of("verifier.engines.on_grid.narrowing") < level_of("verifier.engines.phase_search.search")
    assert level_of("bounds.semidefinite.parabolas") < level_of("bounds.nodes.records") < level_of("bounds.rounding")
    assert "bounds.rounding" in imported("bounds.propagation.device_graph")
