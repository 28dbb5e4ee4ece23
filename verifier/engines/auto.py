"""What `auto` means: the search, and HiGHS for the small programs that the search does not close soon.

The rule, measured on the digits nets and the published toy nets: the search closes most questions in well under a
second. What it has not closed after `SEARCH_SECONDS` with at most `FEW_PHASES` open phases (small balls are not the
trouble then, weak relaxations are: deep chains of maxima) is handed to HiGHS, whose cuts and presolve close it. With
more open phases HiGHS gets nowhere, and the search keeps the whole time.
"""

from __future__ import annotations

from dataclasses import replace

from encoders.errors import SolverError
from encoders.question import Norm
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.engines.highs import HighsEngine
from verifier.engines.search import SearchEngine, SearchOptions
from verifier.problem import Incumbent, Problem, Progress
from verifier.results import Basis

SEARCH_SECONDS = 5.0
SEARCH_SHARE = 0.4  # of the time that is left, where that is less
FEW_PHASES = 80


class AutoEngine(Engine):
    """See the module. Its basis is `rigorous` unless HiGHS had to raise the bound."""

    name = "auto"
    capabilities = Capabilities(frozenset({Norm.LINF, Norm.L1, Norm.L2}), Basis.RIGOROUS)

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        patience = min(SEARCH_SECONDS, SEARCH_SHARE * problem.deadline.left)
        few = FEW_PHASES if problem.norm in HighsEngine.capabilities.norms else -1
        search = SearchEngine(SearchOptions(patience=patience, patience_phases=few))
        proof = search.close(problem, incumbent, progress)
        enough = min(problem.ceiling, incumbent.upper - problem.tolerance)
        falsified = problem.falsify_at is not None and incumbent.upper <= problem.falsify_at
        if proof.lower >= enough or falsified or problem.deadline.passed or proof.open_phases > few:
            return proof

        def running(lower: float, upper: float) -> None:
            progress(max(lower, proof.lower), upper)

        try:
            second = HighsEngine().close(problem, incumbent, running)
        except SolverError:
            return proof  # what the search proved stands, whatever becomes of the solver
        nodes = proof.nodes + second.nodes
        if second.lower <= proof.lower:
            return replace(proof, nodes=nodes)
        return replace(second, nodes=nodes, open_phases=max(proof.open_phases, second.open_phases))
