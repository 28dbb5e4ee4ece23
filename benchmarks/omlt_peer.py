"""The same question asked of OMLT's big-M formulation on HiGHS through Pyomo, as its users would (extra `peers`)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pyomo.environ as pyo

from encoders.question import Norm, Region


def omlt_distance(path: Path, region: Region, norm: Norm, predicted: int, limit: float) -> tuple[float, float] | None:
    """Lower and upper over all targets, `limit` seconds each; None where OMLT is not installed."""
    try:
        from omlt import OmltBlock
        from omlt.io.onnx import load_onnx_neural_network
        from omlt.neuralnet import ReluBigMFormulation
    except ImportError:
        return None
    size = region.center.size
    network = load_onnx_neural_network(
        onnx.load(str(path)), None, {k: (float(region.lower[k]), float(region.upper[k])) for k in range(size)}
    )
    classes = int(np.prod(list(network.layers)[-1].output_size))
    lowest, highest = np.inf, np.inf
    for target in range(classes):
        if target == predicted:
            continue
        model = pyo.ConcreteModel()
        model.net = OmltBlock()
        model.net.build_formulation(ReluBigMFormulation(network))
        index = list(model.net.inputs_set)
        model.moved = pyo.Var(index, bounds=(0, None))
        model.longest = pyo.Var(bounds=(0, None))
        model.rows = pyo.ConstraintList()
        for k, name in enumerate(index):
            shift = model.net.inputs[name] - float(region.center[k])
            model.rows.add(shift <= model.moved[name])
            model.rows.add(-shift <= model.moved[name])
            model.rows.add(model.moved[name] <= model.longest)
        outputs = list(model.net.outputs_set)
        model.rows.add(model.net.outputs[outputs[target]] >= model.net.outputs[outputs[predicted]])
        cost = model.longest if norm is Norm.LINF else sum(model.moved[name] for name in index)
        model.cost = pyo.Objective(expr=cost)
        solver = pyo.SolverFactory("appsi_highs")
        solver.config.time_limit = limit
        solver.config.load_solution = False
        started = time.monotonic()
        answer = solver.solve(model)
        del started
        lowest = min(lowest, float(answer.problem.lower_bound or 0.0))
        if answer.problem.upper_bound is not None and np.isfinite(answer.problem.upper_bound):
            highest = min(highest, float(answer.problem.upper_bound))
    return float(lowest), float(highest)
