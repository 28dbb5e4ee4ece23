"""The table of operators: how each ONNX node becomes affine maps and ReLUs. A line for each.

Shapes are those of one sample, with a batch dimension of 1 where the model has one, so that any batch convention works.
"""

from __future__ import annotations

from encoders.onnx import activations, arithmetic, products, reductions, windows
from encoders.onnx.movement import moved
from encoders.onnx.node import Call, Operator, Value


def _scatter(call: Call) -> tuple[Value, ...]:
    if call.attributes.get("reduction", "none") != "none":
        raise call.unsupported(f"reduction {call.attributes['reduction']!r}; writing in place is")
    found = moved(0, 2)(call)
    return found if isinstance(found, tuple) else (found,)


def _resize(call: Call) -> Value | tuple[Value, ...]:
    """Resize and Upsample: nearest moves entries about, linear interpolation is a linear operator."""
    mode = call.attributes.get("mode", "nearest")
    if mode == "nearest":
        return moved(0)(call)
    if mode in ("linear", "bilinear"):
        return products.responding(call)
    raise call.unsupported(f"mode {mode!r} weighs pixels with signs that cancel; nearest and linear are")


def _dropout(call: Call) -> Value:
    """The identity; training mode is refused before anything is read (`reader.py`)."""
    if len(call.node.output) > 1 and call.node.output[1]:
        raise call.unsupported("its second output (the mask)")
    return call.view()


OPERATORS: dict[str, Operator] = {
    "Abs": activations.absolute,
    "Add": arithmetic.add,
    "AveragePool": windows.average_pool,
    "BatchNormalization": windows.batch_normalization,
    "Cast": arithmetic.cast,
    "CenterCropPad": moved(0),
    "Clip": activations.clip,
    "Compress": moved(0),
    "Concat": moved(),
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed_convolution,
    "CumSum": products.responding,
    "DepthToSpace": moved(0),
    "Div": arithmetic.divide,
    "Dropout": _dropout,
    "Einsum": products.responding,
    "Expand": moved(0),
    "Flatten": moved(0),
    "Gather": moved(0),
    "GatherElements": moved(0),
    "GatherND": moved(0),
    "Gemm": products.gemm,
    "GlobalAveragePool": windows.global_average_pool,
    "GlobalMaxPool": windows.global_max_pool,
    "HardSigmoid": activations.hard_sigmoid,
    "Identity": arithmetic.identity,
    "LeakyRelu": activations.leaky_relu,
    "MatMul": products.matmul,
    "Max": activations.maximum,
    "MaxPool": windows.max_pool,
    "Mean": arithmetic.mean,
    "Min": activations.minimum,
    "Mul": arithmetic.multiply,
    "Neg": arithmetic.negate,
    "PRelu": activations.prelu,
    "Pad": moved(0, 2),
    "ReduceL1": reductions.sum_of_sizes,
    "ReduceMax": reductions.reduce_max,
    "ReduceMean": reductions.reduce_mean,
    "ReduceMin": reductions.reduce_min,
    "ReduceSum": reductions.reduce_sum,
    "Relu": activations.relu,
    "Reshape": moved(0),
    "Resize": _resize,
    "ReverseSequence": moved(0),
    "Scatter": moved(0, 2),
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Slice": moved(0),
    "SpaceToDepth": moved(0),
    "Split": moved(0),
    "Squeeze": moved(0),
    "Sub": arithmetic.subtract,
    "Sum": arithmetic.total,
    "Tile": moved(0),
    "Transpose": moved(0),
    "Trilu": moved(0),
    "Unsqueeze": moved(0),
    "Upsample": _resize,
    "Where": moved(1, 2),
}


def operator_for(call: Call) -> Operator:
    """The operator of a node, or the error that says why it has none."""
    if call.node.op_type not in OPERATORS:
        raise call.unsupported(activations.why_not(call.node.op_type))
    return OPERATORS[call.node.op_type]
