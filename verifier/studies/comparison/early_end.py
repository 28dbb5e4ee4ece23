"""What a stopped comparison can still say: of the samples that every network in it has; and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from encoders.errors import DataError
from encoders.question import Norm
from verifier.pages.wording import NAMES, counted, listed, ranges
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.options import Subject


def in_common(
    measured: Sequence[Measured],
    subjects: Sequence[Subject],
    norms: Sequence[Norm],
    asked: Sequence[int],
    go_on: str = "run the same command to go on",
) -> tuple[list[Measured], str]:
    """The measurements cut to the samples that all have, without those that have none; and what is missing, in words.

    Networks are held against each other on the same samples or not at all. A variant is in it with all of its seeds
    and in every norm, or left out. `go_on` says how to get what is missing.
    """
    whole = {(one.subject, one.norm): one for one in measured if one.indices}
    begun = [one for one in subjects if all((one, norm) in whole for norm in norms)]
    lacking = {one.variant for one in subjects if one not in begun}
    kept = [one for one in measured if one.subject in begun and one.subject.variant not in lacking]
    if not kept:
        raise DataError(f"nothing to compare yet: no variant has a sample in every norm; {go_on}")
    shared = reduce(set.intersection, (set(one.indices) for one in kept))
    if not shared:
        raise DataError(f"nothing to compare yet: the networks have no sample in common; {go_on}")
    common = tuple(index for index in asked if index in shared)
    parts = []
    if lacking:
        named = listed(sorted(lacking))
        parts.append(f"{counted(len(lacking), 'variant')} not measured in all of {_norms(norms)}: {named}")
    missing = sorted(set(asked) - shared)
    if missing:
        parts.append(f"{counted(len(missing), 'sample')} that not every network has: {ranges(missing)}")
    told = f"Missing: {'; '.join(parts)}. {go_on[0].upper()}{go_on[1:]}." if parts else ""
    return [one.of(common) for one in kept], told


def _norms(norms: Sequence[Norm]) -> str:
    return listed([NAMES[norm] for norm in norms])
