"""A question as it comes over HTTP, and the job that it is for the workers; imports what is heavy, unlike the server.

Names in a request never become code or files: engines, bounds and attacks are Plumbline's own, data sets are uploaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError, OptionError
from encoders.question import Norm
from encoders.validation import refuse_unknown
from verifier.margin_answer import TOLERANCE, check_askable
from verifier.options import Options, check_model, checked_radius
from verifier.proofs.proof import unprovable
from verifier.question.model import Model, load
from verifier.regions import check_classes
from verifier.runs.greatest_values import MarginJob
from verifier.runs.job import Asking, Job
from verifier.runs.journal import Record
from verifier.runs.journalled import Run, run_of
from verifier.runs.perturbed import Chosen, PerturbedJob, check_beside
from verifier.runs.proven import proof_beside, proof_folder
from verifier.runs.samples import (
    Samples,
    check_box,
    load_constraints,
    load_grid,
    load_mask,
    load_samples,
    load_scale,
    parse_samples,
)
from verifier.service.reportable import KNOWN
from verifier.service.store.records import OF_ARRAYS
from verifier.studies.comparison.measure import CompareJob, run_of_one
from verifier.studies.comparison.options import CompareOptions
from verifier.studies.gap_report.measure import ReportJob
from verifier.studies.gap_report.options import ReportOptions

QUESTIONS = ("distance", "verify", "margin", "report", "compare")
OF_ALL = ("norm", "targets", "box", "time_limit", "tolerance", "engine", "seed", *OF_ARRAYS)
OF_DISTANCES = ("margin", "count", "execution", "change", "direction", "output_index", "perturbation")
OF = {
    "distance": (*OF_ALL, *OF_DISTANCES), "verify": (*OF_ALL, *OF_DISTANCES), "margin": (*OF_ALL, "each"),
    "report": KNOWN,
    "compare": ("norm", "time_limit", "tolerance", "engine", "seed", "attack", "radii", "baseline", "pictures"),
}  # fmt: skip
OWN = ("each", "bounds", "attacks", "perturbation", *OF_ARRAYS)  # of a question, and no plain field of `Options`


@dataclass(frozen=True)
class Question:
    """What is asked of every sample; `arrays` are the files of this machine that options name."""

    kind: str
    radius: float | None
    options: Mapping[str, Any]
    proofs: bool = False
    arrays: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in QUESTIONS:
            raise OptionError(f"question {self.kind!r}: choose from {', '.join(QUESTIONS)}")
        if (self.radius is None) == (self.kind in ("verify", "margin")):
            said = "needs a radius" if self.radius is None else "has no radius; leave it out"
            raise OptionError(f"radius: {self.kind} {said}")
        for name, value in self.options.items():
            refuse_unknown(name, OF[self.kind])
            named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            if name != "perturbation" and any(isinstance(one, str) and ":" in one for one in named):
                raise OptionError(f"{name} {value!r}: a service takes Plumbline's own by name, and no others")
        for name in OF_ARRAYS:
            value = self.options.get(name)
            if not (value is None or name in self.arrays or (name == "grid" and isinstance(value, int))):
                whole = "a whole number for all inputs, as 255 for 8-bit images, or " if name == "grid" else ""
                raise OptionError(f"{name}: a service takes {whole}the id of a file that was sent to /arrays")
        if self.options.get("perturbation") is not None:
            check_beside({**self.options, "proof": self.proofs or None})

    def asked(self, model: Model) -> Options:
        """The options of the question about a model, validated."""
        if self.kind == "compare":
            compared = self.compare_options()
            return compared.question(compared.norms[0])
        usual: dict[str, Any] = {"tolerance": TOLERANCE} if self.kind == "margin" else {}
        given = {name: value for name, value in self.options.items() if name not in OWN}
        grid = self.options.get("grid")
        if grid is not None:
            given["grid"] = self._read("grid", load_grid) if "grid" in self.arrays else grid
        readers: Mapping[str, Callable[..., Any]] = {"scale": load_scale, "constraints": load_constraints}
        held = {
            name: self._read(name, read, model.input_shape) for name, read in readers.items() if name in self.arrays
        }
        return replace(Options(**(usual | given)), **held)

    def mask(self, model: Model) -> NDArray[np.bool_] | None:
        """Which inputs may move, where not all may."""
        return self._read("mask", load_mask, model.input_shape) if "mask" in self.arrays else None

    @property
    def perturbation(self) -> Chosen | None:
        """What moves in place of inputs, if anything does."""
        named = self.options.get("perturbation")
        return None if named is None else Chosen.parse(str(named))

    def _read(self, name: str, read: Callable[..., Any], *shape: Any) -> Any:
        """What the file of an option holds; errors call it by the name that it came with."""
        path = self.arrays[name]
        try:
            return read(path, *shape)
        except DataError as error:
            raise DataError(str(error).replace(f"{path.parent}/", "")) from None

    def job(self, model: Model, folder: Path | None = None) -> Asking[Any]:
        """What every sample is asked; what files it writes, as proofs, it writes into a folder."""
        options, mask, chosen = self.asked(model), self.mask(model), self.perturbation
        proofs = proof_folder(folder, model, options) if self.proofs and folder is not None else None
        if self.kind == "margin":
            each = self.options.get("each", False)
            if not isinstance(each, bool):
                raise OptionError(f"each {each!r}: give true or false")
            radius = checked_radius(self.radius or 0.0)
            return MarginJob(options, radius, mask, each=each, proofs=proofs is not None, folder=proofs)
        if self.kind == "report":
            report, own = self.report_options(), folder or Path()
            return ReportJob(options, report=report, folder=own, proofs=proofs is not None)
        if self.kind == "compare":
            return CompareJob(options, attacks=self.compare_options().attacks)
        if chosen is not None:
            return PerturbedJob(options, self.radius, perturbation=chosen)
        return Job(options, self.radius, mask, beside=None if proofs is None else proof_beside, folder=proofs)

    def report_options(self) -> ReportOptions:
        """Which bounds and attacks a report sets against the exact distance."""
        named = {name: self.options[name] for name in ("bounds", "attacks") if self.options.get(name) is not None}
        return ReportOptions(**named)

    def compare_options(self) -> CompareOptions:
        """How networks are compared: in one norm, and with the usual values of `plumbline compare`."""
        given = dict(self.options)
        norm, radii = given.pop("norm", Norm.LINF), given.pop("radii", None)
        if radii is not None:
            given["radii"] = {norm: radii}
        return CompareOptions(norms=(norm,), samples=None, **given)

    def run(self, model: Model, samples: Samples) -> Run:
        """What every line of its journal says that it depends on."""
        if self.kind == "compare":
            return run_of_one(model, samples, self.asked(model), self.compare_options().attacks)
        more: Record = self.report_options().record() if self.kind == "report" else {}
        if self.kind == "margin":
            more = {"each": self.options.get("each", False)}
        return run_of(self.kind, model, samples, self.job(model), more=more)


@dataclass(frozen=True)
class Checked:
    """What a question that can be asked comes to: its samples with their labels, and what their records say of it."""

    samples: tuple[tuple[int, int | None], ...]
    tolerance: float
    time_limit: float | None
    record: Record


def loaded(path: Path, facts: Mapping[str, Any]) -> Model:
    """The model of a file, with the scores that were chosen when it was uploaded."""
    return load(path, facts.get("output"), facts.get("threshold"), classifier=False)


def samples_of(source: str, model: Model, options: Options) -> Samples:
    """The samples of a file, or of a data set that is built in, as the model takes them."""
    classes = model.classes if options.change is None else None
    return load_samples(source, model.input_shape, classes, model.input_type)


def checked(path: Path, facts: Mapping[str, Any], source: str, chosen: str | None, question: Question) -> Checked:
    """Everything that the command line checks before it asks the first sample."""
    model = loaded(path, facts)
    options = question.asked(model)
    check_model(model, options)
    check_classes(model, None, options.targets)
    if question.kind == "margin":
        check_askable(model, options, loss=True)
    if question.kind in ("report", "compare") and model.quantised is not None:
        known = f"{question.kind} knows no quantised network; ask distance or verify with a grid"
        raise OptionError(f"{model.path}: {known}")
    why = unprovable(model, options) if question.proofs else None
    if why is not None:
        raise OptionError(f"no proofs: {why}")
    samples = samples_of(source, model, options)
    indices = parse_samples(chosen, samples.count)
    check_box(samples, indices, options.box)
    if question.perturbation is not None:
        PerturbedJob.of(question.perturbation, model, samples, indices, options, question.radius)
    labelled = tuple((index, samples.label(index)) for index in indices)
    return Checked(labelled, options.tolerance, options.time_limit, question.run(model, samples).record)
