"""What attacks follow of a softplus net: its values and gradients, where the graph itself has the ReLU net's.

For attacks alone, whose proposals are evaluated and replayed: no bound of a ReLU net holds for it.
"""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor
from torch.nn import functional

from bounds.propagation.device_graph import DeviceGraph
from encoders.layer_graph.graph import Graph

LINEAR_FROM = 50.0  # what is missing there is less than a float64 can hold


class SoftplusDeviceGraph(DeviceGraph):
    """A graph whose ReLU nodes stand for log(1 + exp(t))."""

    def values(self, x: Tensor) -> list[Tensor]:
        """Value of every node for a batch [B, n]; differentiable."""
        values = [x]
        for position, node in enumerate(self.graph.nodes[1:], start=1):
            if position in self.maps:
                parts = zip(node.sources, self.maps[position], strict=True)
                values.append(sum((one.apply(values[k]) for k, one in parts), self.bias[position].expand(len(x), -1)))
            else:
                values.append(functional.softplus(values[node.sources[0]], threshold=LINEAR_FROM))
        return values


@lru_cache(maxsize=32)
def softplus_graph_for(graph: Graph, device: str = "cpu") -> SoftplusDeviceGraph:
    """The graph on a device, built once."""
    return SoftplusDeviceGraph(graph, device)
