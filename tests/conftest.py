"""How random tests draw: the same cases in every run, and fresh ones only with `--hypothesis-profile thorough`.

A test that fails one day in twenty tells nothing to whoever sees it fail; a hunt for such cases is a run of its own.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, settings

from bounds.attacks import AttackProblem
from bounds.attacks.portfolio import walked
from encoders.layer_graph.graph import Relu
from tests.draws import thorough
from tests.selection import ordinary

# No deadline, and no complaint about slow draws: how fast a machine is at the moment is no property of the code.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", PATIENT, derandomize=True, max_examples=100)
settings.register_profile("thorough", PATIENT, derandomize=False, max_examples=1000)
settings.load_profile("ci")
FEW_STEPS, FEW_NEURONS = 4, 40  # of a brief question's attacks, and of nets that they are enough for


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="slow tests, too: what continuous integration runs")
    parser.addoption("--all", action="store_true", help="all tests, and all cases of those that ordinarily run fewer")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An ordinary run takes minutes; what it leaves out, `--slow`, `make test-all` and `make test-thorough` run."""
    if not config.option.all and not thorough():
        items[:], left = ordinary(items, slow=config.option.slow)
        config.hook.pytest_deselected(items=left)


def pytest_sessionstart() -> None:
    """Ctrl-C is heard in tests and in what they start, whoever started them: a shell's background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # until all is imported


def pytest_collection_finish() -> None:
    """Garbage is looked for in what tests make: all that importing made takes a third of a second to go through."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def fixed_torch_seed() -> None:
    """What a test draws from torch's global generator depends on no test that ran before it in the same process."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed asks each kind of device: 5 ms a test


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes are forks of one that has imported what they need, which is most of what a new one costs.

    All the rest is theirs: what they are given is pickled, and they end as others do.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["verifier.runs.run", "verifier.studies.comparison.parallel"])
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)


@pytest.fixture
def undrawn_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are made and not drawn, where nobody looks at them: drawing is most of what a small report costs."""
    monkeypatch.setattr("verifier.pages.drawn_chart.Chart.svg", lambda chart: "")
    monkeypatch.setattr("verifier.pages.drawn_chart.Chart.png", lambda chart: b"")


@pytest.fixture
def patient_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What attacks find does not depend on how many linear programs fit into a fraction of a second."""
    monkeypatch.setattr("bounds.attacks.portfolio.FIELD_SECONDS", 600.0)
    monkeypatch.setattr("bounds.attacks.region_descent.SECONDS", 600.0)


@pytest.fixture
def quick_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search brings its own adversaries, and attacks beside it take most of a small net's time: one ball each.

    A bound that is too high shows itself just as well. In a thorough run they are what users have.
    """
    if not thorough():
        monkeypatch.setattr("bounds.attacks.ball_search.BALLS", 1)


@pytest.fixture
def brief_questions(quick_attacks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacks that a question about a small net starts with take a few steps, too: they are half of what it costs.

    For tests of what engines prove, and of how questions are asked.
    """
    if thorough():
        return

    def brief(problem: AttackProblem) -> AttackProblem:
        neurons = sum(node.size for node in problem.device_graph.graph.nodes if isinstance(node, Relu))
        few = replace(problem.options, steps=FEW_STEPS, restarts=0)
        return replace(problem, options=few) if neurons <= FEW_NEURONS else problem

    monkeypatch.setattr("verifier.batching.attack_request.walked", lambda problems: walked([*map(brief, problems)]))


@pytest.fixture
def brief_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks that try one ball, weight, threshold or square after the other try few: what is false shows as well.

    In a thorough run they are what users have.
    """
    if not thorough():
        monkeypatch.setattr("bounds.attacks.ball_search.BALLS", 3)
        monkeypatch.setattr("bounds.attacks.carlini_wagner.WEIGHTS", 4)
        monkeypatch.setattr("bounds.attacks.carlini_wagner_linf.THRESHOLDS", 4)
        monkeypatch.setattr("bounds.attacks.lbfgs.WEIGHTS", 4)
        monkeypatch.setattr("bounds.attacks.square.LONGER", 2)
