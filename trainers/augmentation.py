"""Data augmentation: images turned, shifted, mirrored and made noisy at random."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge, Le
from pydantic import Strict
from torch import Tensor
from torch.nn import functional

from encoders.errors import OptionError
from encoders.validation import NaturalWithZero, NonNegative, validated


@validated
class Augmentation:
    """Each image is mirrored half the time, turned by up to `rotate` degrees either way, moved by up to `shift` pixels
    (zeros move in), and given Gaussian noise.
    """

    shift: NaturalWithZero = 0
    flip: bool = False
    noise: NonNegative = 0.0
    rotate: Annotated[float, Strict(), Ge(0), Le(180)] = 0.0

    @classmethod
    def parsed(cls, text: str) -> Augmentation:
        """`rotate:10,shift:1,flip,noise:0.05`, any of them."""
        shift, flip, noise, rotate = 0, False, 0.0, 0.0
        for part in filter(None, text.split(",")):
            name, _, value = part.partition(":")
            try:
                if name == "shift":
                    shift = int(value)
                elif name == "noise":
                    noise = float(value)
                elif name == "rotate":
                    rotate = float(value)
                elif name == "flip" and not value:
                    flip = True
                else:
                    raise ValueError
            except ValueError:
                raise OptionError(f"augmentation {text!r}: write such as rotate:10,shift:1,flip,noise:0.05") from None
        try:
            return cls(shift, flip, noise, rotate)
        except OptionError as error:
            raise OptionError(f"augmentation {text!r}: {error}") from None

    @property
    def text(self) -> str:
        """The augmentation as `parsed` reads it; empty where there is none."""
        parts = [f"shift:{self.shift}"] * (self.shift > 0) + ["flip"] * self.flip
        parts += [f"noise:{self.noise:g}"] * (self.noise > 0)
        return ",".join(parts + [f"rotate:{self.rotate:g}"] * (self.rotate > 0))

    def applied(self, x: Tensor) -> Tensor:
        """A batch of images [B, channels, height, width], changed; still in [0, 1]."""
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        if self.rotate:
            x = rotated(x, math.radians(self.rotate) * (2 * torch.rand(len(x), device=x.device) - 1))
        if self.shift:
            height, width = x.shape[2:]
            padded = functional.pad(x, [self.shift] * 4)
            offsets = torch.randint(0, 2 * self.shift + 1, (2, len(x), 1), device=x.device)
            rows = (torch.arange(height, device=x.device) + offsets[0])[:, None, :, None]
            columns = (torch.arange(width, device=x.device) + offsets[1])[:, None, None, :]
            samples = torch.arange(len(x), device=x.device)[:, None, None, None]
            channels = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
            x = padded[samples, channels, rows, columns]
        if self.noise:
            x = (x + self.noise * torch.randn_like(x)).clamp(0.0, 1.0)
        return x


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Images [B, channels, height, width] turned by angles [B], anticlockwise: bilinear, and zeros move in."""
    height, width = x.shape[2:]
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    stretch = height / width  # the grid runs from -1 to 1 along both sides
    rows = torch.stack([cos, -sin * stretch, none, sin / stretch, cos, none], 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(rows, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False).clamp(0.0, 1.0)
