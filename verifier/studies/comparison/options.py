"""What is compared, and how: networks from a study or from files, and the options of the comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from encoders.errors import ModelError, OptionError, PlumblineError
from encoders.question import Norm
from encoders.validation import ConvexNorm, Level, Natural, NaturalWithZero, NonNegative, Positive, Whole, validated
from trainers.choice import choices
from trainers.config import Study, read_study
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.runs.cluster_connection import check_cluster
from verifier.runs.samples import check_samples
from verifier.studies.comparison.bands import Resampling
from verifier.studies.comparison.drawn_attacks import BY_RADIUS, STRONGEST, check_attack_name

NONE = "none"
RADII: Mapping[Norm, tuple[float, ...]] = {
    Norm.LINF: (0.02, 0.05, 0.1), Norm.L1: (0.25, 0.5, 1.0), Norm.L2: (0.1, 0.25, 0.5),
}  # fmt: skip


def distinct_norms(norms: tuple[Norm, ...]) -> tuple[Norm, ...]:
    """At least one norm, and none of them twice."""
    if not norms or len(set(norms)) < len(norms):
        raise ValueError("give at least one norm, and each at most once")
    return norms


def _radii(radii: dict[Norm, tuple[float, ...]]) -> Mapping[Norm, tuple[float, ...]]:
    """Those given, and the usual ones of the other norms."""
    return {**RADII, **radii}


@validated
class CompareOptions:
    """`radii` are where robust accuracy is told; `attack` is the typical one, drawn beside the exact curve and the
    strongest attack's.

    `baseline` is the family that the others are drawn beside. `resamples` of seeds and samples give the intervals,
    `level` is their confidence.
    """

    norms: Annotated[tuple[ConvexNorm, ...], AfterValidator(distinct_norms)] = (Norm.LINF, Norm.L1)
    samples: Annotated[str, AfterValidator(check_samples)] | None = "0:100"
    radii: Annotated[dict[ConvexNorm, tuple[NonNegative, ...]], AfterValidator(_radii)] = field(
        default_factory=lambda: dict(RADII)
    )
    time_limit: Positive | None = 60.0
    tolerance: Positive = 1e-6
    engine: str = "auto"
    device: str = "auto"
    seed: Whole = 0
    jobs: Natural = 1
    cluster: str | None = None  # whose workers share the samples of one network at a time, in place of jobs
    attack: Annotated[str, AfterValidator(check_attack_name)] = BY_RADIUS
    baseline: str = NONE
    pictures: NaturalWithZero = 3
    resamples: Natural = 2000
    variants: Literal["all", "chosen"] = "all"  # of each family, or the one chosen on the validation split
    level: Level = 0.95

    def __post_init__(self) -> None:
        self.question(self.norms[0])  # refuses what no network could be asked
        if self.cluster is not None:
            if self.jobs != 1:
                raise OptionError("jobs and cluster: processes here, or workers elsewhere; leave out one of the two")
            check_cluster(self.cluster)

    @property
    def attacks(self) -> tuple[str, ...]:
        """The attacks that are drawn: the typical one, and the strongest; one where they are the same."""
        return tuple(dict.fromkeys((self.attack, STRONGEST)))

    @property
    def resampling(self) -> Resampling:
        """How intervals and bands are drawn."""
        return Resampling(self.resamples, self.level, self.seed)

    def question(self, norm: Norm) -> Options:
        """What is asked of every sample."""
        return Options(
            norm=norm, time_limit=self.time_limit, tolerance=self.tolerance, engine=self.engine, device=self.device,
            seed=self.seed,
        )  # fmt: skip


def read_comparison(path: Path, **flags: Any) -> tuple[Study, CompareOptions]:
    """A study's file and its [compare] table, all of it checked; `flags` go before what the table says."""
    study = read_study(path)
    try:
        options = CompareOptions(**study.compare)
    except PlumblineError as error:
        raise type(error)(f"{path}: [compare]: {error}") from None
    if options.variants == "chosen" and study.validation is None:
        raise OptionError(f"{path}: [compare]: variants 'chosen': say by what samples, in a [validation] table")
    given = {**study.compare, **flags}
    try:
        baseline = baseline_of([(run.family, run.options.record) for run in study.runs], given.get("baseline"))
    except OptionError as error:
        raise OptionError(f"{path}: [compare]: {error}" if "baseline" not in flags else str(error)) from None
    return study, CompareOptions(**{**given, "baseline": baseline})


def baseline_of(runs: Sequence[tuple[str, Mapping[str, Any] | None]], named: str | None) -> str:
    """The family that the others are held against: the one named, else `none`, else the only one trained plainly.

    `runs` are families and the options of their training; plainly is without a regulariser and without adversaries.
    """
    families = dict.fromkeys(family for family, _ in runs)
    if named is not None and named not in families:
        raise OptionError(f"baseline {named!r}: choose from {', '.join(families)}")
    if named is not None or NONE in families:
        return named or NONE
    plain = {family for family, options in runs if options is not None and _plain(options)}
    return plain.pop() if len(plain) == 1 else NONE


def _plain(options: Mapping[str, Any]) -> bool:
    return not options.get("regularisers") and not options.get("adversarial")


@dataclass(frozen=True)
class Subject:
    """One trained network. Those of one variant differ in their seed alone.

    `matched`: it is its family's network of the baseline's accuracy, as the validation split has it.
    `options` are those of its training, as its record holds them; None where no record is known.
    """

    family: str
    variant: str
    seed: int
    path: Path
    output: str | None = None
    threshold: float | None = None
    matched: bool = False
    options: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def stem(self) -> str:
        return self.path.stem

    def model(self) -> Model:
        """The network itself."""
        return load(self.path, self.output, self.threshold)


def subjects_of_study(study: Study, variants: str = "all", baseline: str = NONE) -> tuple[Subject, ...]:
    """The networks that a study's runs have left, of `chosen` variants or all; one that is missing is named.

    Chosen is of each family the one that its own accuracy allows, and the one that the baseline's does.
    """
    chosen = choices(study, baseline=baseline) if study.validation is not None else ()
    matched = {one.matched for one in chosen}
    gone_on = {one.variant for one in chosen} | matched
    found = []
    for run in study.runs:
        if variants == "chosen" and run.variant not in gone_on:
            continue
        path = study.out / f"{run.stem}.onnx"
        if not path.is_file():
            raise ModelError(f"{path}: not trained yet; run: plumbline train {study.path}")
        matches = run.variant in matched
        found.append(
            Subject(run.family, run.variant, run.options.seed, path, matched=matches, options=run.options.record)
        )
    return tuple(found)


def subjects_of_files(paths: Sequence[Path]) -> tuple[Subject, ...]:
    """Model files; the training record beside one says its family, variant and seed, else its name does."""
    found = []
    for path in paths:
        try:
            record = json.loads(path.with_suffix(".json").read_text())
            options = dict(record["options"])
            found.append(Subject(record["family"], record["variant"], int(options["seed"]), path, options=options))
        except (OSError, ValueError, KeyError, TypeError):
            name, seed = _split_name(path.stem)
            found.append(Subject(name, name, seed, path))
    return tuple(found)


def _split_name(stem: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+)-seed(\d+)", stem)
    return (match[1], int(match[2])) if match else (stem, 0)


def check_subjects(subjects: Sequence[Subject]) -> None:
    """Every network has a name of its own, and every variant each seed once."""
    for what, keys in (
        ("files are called", [subject.stem for subject in subjects]),
        ("networks are", [f"{subject.variant}, seed {subject.seed}" for subject in subjects]),
    ):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise OptionError(f"two {what} {twice[0]}; rename one")
