"""As few changed pixels as possible (L0): the most promising one is moved to a side of the box, one after the other.

After the saliency maps of Papernot et al., The limitations of deep learning in adversarial settings, 2016, with the
gradient of the goal itself and without a limit on the number of pixels. A pixel is one position of an image with all
its channels, or one input where the net does not read images or L0 counts inputs. What turns out not to be needed is
put back. In other norms the proposals are measured in those, and `changed_inputs` and `changed_pixels` count. Pulling
an adversary towards the center, as the final check does, changes no more pixels.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from encoders.arrays import FloatArray
from encoders.question import Norm

MOST_PIXELS = 256  # an attack that changes more than this is not sparse


class PixelGreedy(Attack):
    """See the module."""

    name: ClassVar[str] = "pixel-greedy"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.L0})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        x = runs.start
        pixel = moved_together(batch)
        pixels = int(pixel.max()) + 1
        changed = torch.zeros(len(runs), pixels, dtype=torch.bool, device=x.device)
        order: list[Tensor] = []
        for _ in range(min(pixels, MOST_PIXELS) + 1):
            value, gradient = runs.linearised(x)
            if runs.batch.time_left <= 0:
                break
            side = torch.where(gradient > 0, runs.lower, runs.upper)
            promise = (gradient * (x - side)).clamp_min(0.0)
            gain = x.new_zeros(len(runs), pixels).index_add(1, pixel, promise).masked_fill(changed, 0.0)
            most, chosen = gain.max(1)
            moves = (value > 0) & (most > 0)
            if not moves.any():
                break
            chosen = torch.where(moves, chosen, -1)
            x = torch.where(chosen.unsqueeze(1) == pixel, side, x)
            changed |= chosen.unsqueeze(1) == torch.arange(pixels, device=x.device)
            order.append(chosen)
        x = self._put_back(runs, x, pixel, order)
        # Not the nearest on the way but the sparsest, which is the last.
        holds = runs.worst(x) <= 0
        return runs.proposals(x, runs.length(x).masked_fill(~holds, torch.inf))

    def _put_back(self, runs: Runs, x: Tensor, pixel: Tensor, order: list[Tensor]) -> Tensor:
        """Restore each pixel, the first moved first, wherever the row stays an adversary without it."""
        for chosen in order:
            if runs.batch.time_left <= 0:
                break
            restored = torch.where(chosen.unsqueeze(1) == pixel, runs.center, x)
            x = torch.where((runs.worst(restored) <= 0).unsqueeze(1), restored, x)
        return x


def moved_together(batch: AttackBatch) -> Tensor:
    """Which inputs [n] a sparse attack moves at once: the pixels that L0 counts, or its inputs; else whole pixels."""
    if batch.pixels is not None:
        return batch.pixels
    pixel = pixel_of_input(batch.device_graph.graph.input_shape)
    if batch.norm is Norm.L0:
        pixel = np.arange(len(pixel))
    return torch.as_tensor(pixel, device=batch.center.device)


def pixel_of_input(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Which pixel each flat input belongs to: the channels of (C, H, W) share theirs."""
    size = int(np.prod(shape))
    channels = shape[0] if len(shape) == 3 and shape[0] in (1, 3, 4) else 1
    return np.arange(size) % (size // channels)


def changed_inputs(points: FloatArray, center: FloatArray) -> NDArray[np.int64]:
    """How many inputs of each row differ from the center: the L0 distance."""
    return np.asarray((np.atleast_2d(points) != center).sum(axis=1), dtype=np.int64)


def changed_pixels(points: FloatArray, center: FloatArray, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """How many pixels of each row differ from the center in any channel."""
    differs = np.atleast_2d(points) != center
    pixel = pixel_of_input(shape)
    return np.array([len(np.unique(pixel[row])) for row in differs], dtype=np.int64)
