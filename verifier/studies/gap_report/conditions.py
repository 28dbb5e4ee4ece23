"""What was run, on what, with what: enough to repeat a report, and to tell whether it is the same."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bounds.device import pick_device
from verifier.options import Options
from verifier.pages.wording import NAMES, as_given, counted, ranges
from verifier.question.code_version import code_version
from verifier.question.model import Model
from verifier.runs.samples import Samples
from verifier.studies.gap_report.options import ReportOptions
from verifier.studies.gap_report.records import Collected

PACKAGES = ("torch", "highspy", "onnxruntime", "numpy")


@dataclass(frozen=True, eq=False)
class Conditions:
    """The question as it was asked, the files that it is about, and what of it is not answered yet."""

    command: Sequence[str]  # the arguments of the command line, without the program
    model: Model
    samples: Samples
    question: Options
    options: ReportOptions
    asked: tuple[int, ...]
    out: Path
    budget: float | None = None

    def missing(self, found: Collected) -> list[int]:
        """The samples that were asked for, and have no record in this norm."""
        return sorted(set(self.asked) - set(found.indices))

    def told(self, norms: Sequence[Collected]) -> dict[str, Any]:
        """All of it by name, as page and JSON have it."""
        missing = {NAMES[found.norm]: self.missing(found) for found in norms}
        lacking = "; ".join(
            f"{norm}: {ranges(indices)} ({len(indices)} of {len(self.asked)})"
            for norm, indices in missing.items()
            if indices
        )
        question, device = self.question, pick_device(self.question.device)
        graphics = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
        return {
            "command": shlex.join(["plumbline", *self.command]),
            "model": self.path, "SHA-256 of the model": self.model.digest,
            "data": f"{self.samples.name} ({counted(self.samples.count, 'sample')})",
            "digest of the data": self.samples.digest,
            "asked of samples": ranges(self.asked),
            "missing samples": lacking or "none",
            "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "plumbline": code_version(),
            "Python and packages": ", ".join(
                [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
            ),
            "machine": f"{platform.platform()}, {counted(os.cpu_count() or 1, 'core')}{graphics}",
            "device": device, "engine": question.engine,
            "time limit": "none" if question.time_limit is None else f"{question.time_limit:g} s a sample",
            "budget": "none" if self.budget is None else f"{self.budget:g} s for all",
            "tolerance": question.tolerance, "box": f"{as_given(question.box[0])} to {as_given(question.box[1])}",
            "seed": question.seed, "balls per bound": self.options.effort.balls,
            "ascent steps": self.options.effort.steps,
        }  # fmt: skip

    @property
    def path(self) -> str:
        """The model file, from where the command was given if it lies below."""
        path, here = self.model.path, Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)
