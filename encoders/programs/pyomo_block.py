"""Networks and programs as Pyomo models: for any solver Pyomo knows, and for models of the user's own.

import pyomo.environ as pyo
from bounds.propagation.neuron_bounds import neuron_bounds
from encoders.question import Norm, Region

box = Region((low + high) / 2, low, high)
model = pyo.ConcreteModel()
model.net = network_block(graph, neuron_bounds(graph, box, Norm.LINF, box.reach(Norm.LINF)), low, high)
model.budget = pyo.Constraint(expr=sum(model.net.inputs[i] for i in model.net.inputs) <= 3)
model.best = pyo.Objective(expr=model.net.outputs[0] - model.net.outputs[1], sense=pyo.maximize)
pyo.SolverFactory("highs").solve(model)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.numeric_expr import LinearExpression
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.layer_graph.graph import Graph
from encoders.programs.mixed_integer_encoding import Encoder
from encoders.programs.mixed_integer_program import Program
from encoders.question import Goal, NeuronBounds, Region


def network_block(graph: Graph, bounds: NeuronBounds, lower: FloatArray, upper: FloatArray) -> Any:
    """A Pyomo block in which `outputs` are exactly the network's scores of `inputs`.

    `inputs[i]` (flat, in the network's own order) ranges over lower[i] … upper[i]; `outputs[k]` is the score of class
    k. `bounds` must hold over that box: a program from wrong bounds is wrong without saying so. The block has no
    objective; everything else in it (`columns`, `rows`) is the encoding.
    """
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    region = Region((lower + upper) / 2.0, lower, upper)
    body = Encoder(graph).body(region, None, bounds, np.inf)
    program = body.program(Goal(0, np.zeros((0, graph.classes)), np.zeros(0)))
    block = _block(program)
    block.inputs = pyo.Var(range(graph.input_size), bounds=lambda _, i: (float(lower[i]), float(upper[i])))
    block.outputs = pyo.Var(range(graph.classes))
    for name, table, constant in (
        ("inputs", program.inputs_map, program.inputs_base),
        ("outputs", body.scores.table, body.scores.constant),
    ):
        values = _expressions(table, block.columns, constant)
        variables = getattr(block, name)
        define = pyo.Constraint(range(len(values)), rule=lambda _, i, v=variables, e=values: v[i] == e[i])
        block.add_component(f"{name}_defined", define)
    return block


def to_pyomo(program: Program) -> Any:
    """The same program as a Pyomo model: `columns`, `rows` and the objective `distance`, in the norm's own units.

    In L2 the objective is the `square` of the distance instead, in the program's units, and `ball` bounds it.
    """
    model = _block(program, pyo.ConcreteModel())
    if program.euclidean:
        moves = [(float(cost), model.columns[j]) for j, cost in enumerate(program.costs) if cost > 0]
        square = pyo.quicksum(cost * move**2 for cost, move in moves)
        model.square = pyo.Objective(expr=square, sense=pyo.minimize)
        if moves and np.isfinite(program.longest):
            model.ball = pyo.Constraint(expr=square <= program.longest**2)
        return model
    costs = sparse.csr_array(program.unit * program.costs[None])
    model.distance = pyo.Objective(expr=_expressions(costs, model.columns)[0], sense=pyo.minimize)
    return model


def _block(program: Program, block: Any = None) -> Any:
    """Columns and rows of a program."""
    block = pyo.Block(concrete=True) if block is None else block
    low, high = program.column_lower.tolist(), program.column_upper.tolist()
    block.columns = pyo.Var(
        range(program.columns),
        domain=lambda _, j: pyo.Integers if program.integral[j] else pyo.Reals,
        bounds=lambda _, j: (_side(low[j]), _side(high[j])),
    )
    block.rows = pyo.ConstraintList()
    lengths = np.diff(program.matrix.indptr)
    for expression, length, least, most in zip(
        _expressions(program.matrix, block.columns), lengths, program.row_lower, program.row_upper, strict=True
    ):
        if not length:  # Pyomo takes no constraint without a variable: this one holds, or nothing does
            if least <= 0 <= most:
                continue
            first = block.columns[0]
            block.rows.add(first >= 1.0 + abs(first.ub if first.ub is not None else 0.0))
            block.rows.add(first <= 0.0)
        elif least == most:
            block.rows.add((expression, float(most)))
        else:
            block.rows.add((_side(least), expression, _side(most)))
    return block


def _expressions(table: sparse.csr_array, columns: Any, constant: FloatArray | None = None) -> list[Any]:
    """Each row of the table as a linear expression over the columns."""
    offset = np.zeros(table.shape[0]) if constant is None else constant
    starts, indices, data = table.indptr.tolist(), table.indices.tolist(), table.data.tolist()
    return [
        LinearExpression(
            constant=float(offset[i]),
            linear_coefs=data[starts[i] : starts[i + 1]],
            linear_vars=[columns[j] for j in indices[starts[i] : starts[i + 1]]],
        )
        for i in range(table.shape[0])
    ]


def _side(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
