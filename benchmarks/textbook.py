"""The textbook's mixed-integer program, slow on purpose: what every cleverness is checked and measured against.

Symmetric big-M from intervals over the whole box, two inequalities on either side of each ReLU, every neuron with its
own pre-activation column and binary, one program per class, HiGHS as it comes. Built row by row with a loop of its
own; of the encoder it shares only the layer graph that a model file is read into.
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np

from encoders.arrays import FloatArray
from encoders.layer_graph.graph import Affine, Graph, Input
from encoders.question import Norm, Region


def textbook_distance(
    graph: Graph,
    region: Region,
    norm: Norm,
    predicted: int,
    time_limit_per_target: float | None = None,
    feasibility_tolerance: float = 1e-6,
) -> tuple[float, float, FloatArray | None]:
    """(lower, upper, point): the distance to the nearest input where another class reaches the predicted one.

    lower = upper up to HiGHS's tolerances when every target was closed in time; inf, inf, None if there is none. Its
    rows are not scaled: on a net of small weights the default tolerance of 1e-6 lets points through that are no
    adversaries, so that a comparison to the last digit wants a tighter one.
    """
    lower, upper, best = np.inf, np.inf, None
    for target in range(graph.classes):
        if target == predicted:
            continue
        bound, value, point = _one_target(
            graph, region, norm, predicted, target, time_limit_per_target, feasibility_tolerance
        )
        lower = min(lower, bound)
        if value < upper:
            upper, best = value, point
    return lower, upper, best


def whole_box_intervals(graph: Graph, region: Region) -> list[tuple[FloatArray, FloatArray]]:
    """Interval bounds of every node over the whole box."""
    spans: list[tuple[FloatArray, FloatArray]] = []
    for node in graph.nodes:
        if isinstance(node, Input):
            spans.append((region.lower, region.upper))
        elif isinstance(node, Affine):
            low, high = node.bias.copy(), node.bias.copy()
            for source, linear in zip(node.sources, node.maps, strict=True):
                matrix = linear.matrix().toarray()
                up, down = np.maximum(matrix, 0.0), np.minimum(matrix, 0.0)
                low += up @ spans[source][0] + down @ spans[source][1]
                high += up @ spans[source][1] + down @ spans[source][0]
            spans.append((low, high))
        else:
            spans.append((np.maximum(spans[node.source][0], 0.0), np.maximum(spans[node.source][1], 0.0)))
    return spans


def _one_target(
    graph: Graph, region: Region, norm: Norm, predicted: int, target: int, time_limit: float | None, tolerance: float
) -> tuple[float, float, FloatArray | None]:
    model: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    model.setOptionValue("output_flag", False)
    model.setOptionValue("threads", 1)
    model.setOptionValue("mip_rel_gap", 0.0)
    for name in ("primal_feasibility_tolerance", "mip_feasibility_tolerance"):
        model.setOptionValue(name, tolerance)
    if time_limit is not None:
        model.setOptionValue("time_limit", float(time_limit))
    infinity = highspy.kHighsInf

    def column(low: float, high: float, cost: float = 0.0, integer: bool = False) -> int:
        index = int(model.getNumCol())
        model.addCol(cost, low, high, 0, np.zeros(0, dtype=np.int32), np.zeros(0))
        if integer:
            model.changeColIntegrality(index, highspy.HighsVarType.kInteger)
        return index

    def row(low: float, high: float, terms: dict[int, float]) -> None:
        model.addRow(low, high, len(terms), np.array(list(terms), dtype=np.int32), np.array(list(terms.values())))

    spans = whole_box_intervals(graph, region)
    columns: list[list[int]] = []
    for position, node in enumerate(graph.nodes):
        low, high = spans[position]
        own = [column(low[i], high[i]) for i in range(node.size)]
        columns.append(own)
        if isinstance(node, Affine):
            matrices = [(columns[s], m.matrix().toarray()) for s, m in zip(node.sources, node.maps, strict=True)]
            for i in range(node.size):
                terms = {own[i]: 1.0}
                for sources, matrix in matrices:
                    for j in np.flatnonzero(matrix[i]):
                        terms[sources[j]] = terms.get(sources[j], 0.0) - float(matrix[i, j])
                row(float(node.bias[i]), float(node.bias[i]), terms)
        elif not isinstance(node, Input):
            source = columns[node.source]
            before = spans[node.source]
            for i in range(node.size):
                big = max(abs(before[0][i]), abs(before[1][i]))
                phase = column(0.0, 1.0, integer=True)
                row(0.0, infinity, {own[i]: 1.0, source[i]: -1.0})  # y ≥ x
                row(-infinity, big, {own[i]: 1.0, source[i]: -1.0, phase: big})  # y ≤ x + M(1 - β)
                row(-infinity, 0.0, {own[i]: 1.0, phase: -big})  # y ≤ M β
    scores = columns[-1]
    row(-infinity, 0.0, {scores[predicted]: 1.0, scores[target]: -1.0})

    if norm not in (Norm.LINF, Norm.L1):
        raise ValueError(f"the textbook program knows linf and l1, not {norm}")
    shared = column(0.0, infinity, 1.0) if norm is Norm.LINF else None
    for i, x in enumerate(columns[0]):
        size = column(0.0, infinity, 1.0) if shared is None else shared
        row(float(-region.center[i]), infinity, {size: 1.0, x: -1.0})
        row(float(region.center[i]), infinity, {size: 1.0, x: 1.0})

    model.run()
    status, info = model.getModelStatus(), model.getInfo()
    if status == highspy.HighsModelStatus.kInfeasible:
        return np.inf, np.inf, None
    whole = graph.relu_count == 0  # without integers HiGHS solves a linear program, which has no such bound
    bound = (
        info.objective_function_value if whole and status == highspy.HighsModelStatus.kOptimal else info.mip_dual_bound
    )
    bound = float(bound) if np.isfinite(bound) and (not whole or status == highspy.HighsModelStatus.kOptimal) else 0.0
    if int(info.primal_solution_status) != int(highspy.SolutionStatus.kSolutionStatusFeasible):
        return max(0.0, bound), np.inf, None
    point = np.array(model.getSolution().col_value)[columns[0]]
    return max(0.0, bound), float(info.objective_function_value), point
