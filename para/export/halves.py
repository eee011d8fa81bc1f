"""An ONNX file of half the size: large weights as 16-bit floats, widened when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from para.pretrained.ship import LARGE


def halve(model: Any) -> None:
    """Store 32-bit weights of LARGE numbers and more as 16-bit ones, each with a cast back.

    ONNX Runtime computes the casts once, when it loads the file, so nothing is slower afterwards.

    Args:
        model: An `onnx.ModelProto`, changed in place.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for weight in graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype != np.float32 or array.size < LARGE:
            continue
        name = f"{weight.name}.half"
        casts.append(helper.make_node("Cast", [name], [weight.name], to=TensorProto.FLOAT))
        weight.CopyFrom(numpy_helper.from_array(array.astype(np.float16), name))
    del graph.value_info[:]  # names of weights that are computed now
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
