"""Data augmentation: images shifted, mirrored and made noisy at random."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from encoders.errors import OptionError
from encoders.validation import NaturalWithZero, NonNegative, validated


@validated
class Augmentation:
    """Each image is moved by up to `shift` pixels (zeros move in), mirrored half the time, given Gaussian noise."""

    shift: NaturalWithZero = 0
    flip: bool = False
    noise: NonNegative = 0.0

    @classmethod
    def parsed(cls, text: str) -> Augmentation:
        """`shift:1,flip,noise:0.05`, any of them."""
        shift, flip, noise = 0, False, 0.0
        for part in filter(None, text.split(",")):
            name, _, value = part.partition(":")
            try:
                if name == "shift":
                    shift = int(value)
                elif name == "noise":
                    noise = float(value)
                elif name == "flip" and not value:
                    flip = True
                else:
                    raise ValueError
            except ValueError:
                raise OptionError(f"augmentation {text!r}: write such as shift:1,flip,noise:0.05") from None
        try:
            return cls(shift, flip, noise)
        except OptionError as error:
            raise OptionError(f"augmentation {text!r}: {error}") from None

    @property
    def text(self) -> str:
        """The augmentation as `parsed` reads it; empty where there is none."""
        parts = [f"shift:{self.shift}"] * (self.shift > 0) + ["flip"] * self.flip
        return ",".join(parts + [f"noise:{self.noise:g}"] * (self.noise > 0))

    def applied(self, x: Tensor) -> Tensor:
        """A batch of images [B, channels, height, width], changed; still in [0, 1]."""
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
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
