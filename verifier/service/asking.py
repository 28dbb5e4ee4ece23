"""A question as it comes over HTTP, and the job that it is for the workers; imports what is heavy, unlike the server.

Names in a request never become code or files: engines, bounds and attacks are Plumbline's own, data sets are uploaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.errors import OptionError
from encoders.question import Norm
from encoders.validation import refuse_unknown
from verifier.margin_answer import TOLERANCE, check_askable
from verifier.options import Options, check_model, checked_radius
from verifier.proofs.proof import unprovable
from verifier.question.model import Model, load
from verifier.runs.greatest_values import MarginJob
from verifier.runs.job import Asking, Job
from verifier.runs.journal import Record
from verifier.runs.journalled import Run, run_of
from verifier.runs.proven import proof_beside, proof_folder
from verifier.runs.samples import Samples, check_box, load_samples, parse_samples
from verifier.studies.comparison.measure import CompareJob, run_of_one
from verifier.studies.comparison.options import CompareOptions
from verifier.studies.gap_report.measure import ReportJob
from verifier.studies.gap_report.options import ReportOptions

QUESTIONS = ("distance", "verify", "margin", "report", "compare")
OF_ALL = ("norm", "targets", "box", "time_limit", "tolerance", "engine", "seed", "grid")
OF_DISTANCES = ("margin", "count", "execution", "change", "direction", "output_index")
OF = {
    "distance": (*OF_ALL, *OF_DISTANCES), "verify": (*OF_ALL, *OF_DISTANCES), "margin": (*OF_ALL, "each"),
    "report": ("norm", "box", "time_limit", "tolerance", "engine", "seed", "bounds", "attacks"),
    "compare": ("norm", "time_limit", "tolerance", "engine", "seed", "attack", "radii", "baseline", "pictures"),
}  # fmt: skip
OWN = ("each", "bounds", "attacks")  # of a question, and no field of `Options`


@dataclass(frozen=True)
class Question:
    """What is asked of every sample."""

    kind: str
    radius: float | None
    options: Mapping[str, Any]
    proofs: bool = False

    def __post_init__(self) -> None:
        if self.kind not in QUESTIONS:
            raise OptionError(f"question {self.kind!r}: choose from {', '.join(QUESTIONS)}")
        if (self.radius is None) == (self.kind in ("verify", "margin")):
            said = "needs a radius" if self.radius is None else "has no radius; leave it out"
            raise OptionError(f"radius: {self.kind} {said}")
        for name, value in self.options.items():
            refuse_unknown(name, OF[self.kind])
            named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            if any(isinstance(one, str) and ":" in one for one in named):
                raise OptionError(f"{name} {value!r}: a service takes Plumbline's own by name, and no others")
        if "grid" in self.options and not isinstance(self.options["grid"], int | None):
            raise OptionError("grid: a service takes one whole number for all inputs, as 255 for 8-bit images")

    def asked(self) -> Options:
        """The options of the question, validated."""
        if self.kind == "compare":
            compared = self.compare_options()
            return compared.question(compared.norms[0])
        usual: dict[str, Any] = {"tolerance": TOLERANCE} if self.kind == "margin" else {}
        given = {name: value for name, value in self.options.items() if name not in OWN}
        return Options(**(usual | given))

    def job(self, model: Model, folder: Path | None = None) -> Asking[Any]:
        """What every sample is asked; what files it writes, as proofs, it writes into a folder."""
        options = self.asked()
        proofs = proof_folder(folder, model, options) if self.proofs and folder is not None else None
        if self.kind == "margin":
            each = self.options.get("each", False)
            if not isinstance(each, bool):
                raise OptionError(f"each {each!r}: give true or false")
            return MarginJob(
                options, checked_radius(self.radius or 0.0), each=each, proofs=proofs is not None, folder=proofs
            )
        if self.kind == "report":
            report, own = self.report_options(), folder or Path()
            return ReportJob(options, report=report, folder=own, proofs=proofs is not None)
        if self.kind == "compare":
            return CompareJob(options, attacks=self.compare_options().attacks)
        return Job(options, self.radius, beside=None if proofs is None else proof_beside, folder=proofs)

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
            return run_of_one(model, samples, self.asked(), self.compare_options().attacks)
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
    options = question.asked()
    model = loaded(path, facts)
    check_model(model, options)
    if question.kind == "margin":
        check_askable(model, options)
    if question.kind in ("report", "compare") and model.quantised is not None:
        known = f"{question.kind} knows no quantised network; ask distance or verify with a grid"
        raise OptionError(f"{model.path}: {known}")
    why = unprovable(model, options) if question.proofs else None
    if why is not None:
        raise OptionError(f"no proofs: {why}")
    samples = samples_of(source, model, options)
    indices = parse_samples(chosen, samples.count)
    check_box(samples, indices, options.box)
    labelled = tuple((index, samples.label(index)) for index in indices)
    return Checked(labelled, options.tolerance, options.time_limit, question.run(model, samples).record)
