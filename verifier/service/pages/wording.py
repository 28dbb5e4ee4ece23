"""How runs, samples and numbers are worded on the pages; numbers that change keep their width."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

from encoders.question import Norm
from verifier.pages.wording import NAMES, as_given, in_decimals, share_ends

MEASURES = {**{str(norm): name for norm, name in NAMES.items()}, str(Norm.L0): "changed inputs"}
QUESTIONS = {
    "distance": "distance to the nearest adversary",
    "verify": "no adversary within a radius?",
    "margin": "greatest lead of another class",
    "report": "every bound and attack",
    "compare": "comparison",
}
CLOSED = 1e-6  # what both sides of an exact answer may differ by, relative above 1
STATES = ("waiting", "running", "exact", "certified", "falsified", "unresolved", "misclassified", "empty", "failed")
BASES = {
    "rigorous": "rigorous: proven with every rounding counted",
    "integer": "integer: proven in whole numbers",
    "solver": "solver: a solver's word, within its tolerances",
}


def number(held: float | str | None) -> float:
    """A number of the interface, where infinity is a text; not there is not a number."""
    return math.nan if held is None else float(held)


def below(held: float | str | None) -> str:
    """Four digits, rounded down: what is proven of a distance is shown as no more than that."""
    return _rounded(held, ROUND_FLOOR)


def above(held: float | str | None) -> str:
    """Four digits, rounded up: an adversary is shown as no nearer than it is, a proven margin as no less."""
    return _rounded(held, ROUND_CEILING)


def _rounded(held: float | str | None, direction: str) -> str:
    """With the zeros at the end: a number that grows stays as wide as it was."""
    known = number(held)
    if math.isnan(known):
        return "–"
    if math.isfinite(known):
        known = float(Context(4, direction).plus(Decimal(repr(known))))
    if math.isinf(known):
        return "∞" if known > 0 else "−∞"
    written = f"{known:#.4g}".rstrip(".") if known else "0"
    return f"−{written[1:]}" if known < 0 else written


def gap(lower: float | str | None, upper: float | str | None) -> str:
    """What is open of a bracket, as a share of its upper side and rounded up; none where it is closed."""
    low, high = number(lower), number(upper)
    if not (math.isfinite(low) and math.isfinite(high)):
        return "0 %" if low == high else "open" if not math.isnan(low) else "–"
    if high - low <= CLOSED * max(1.0, abs(high)):
        return "0 %"
    share = 100 * (high - low) / max(abs(high), 1e-12)
    return (
        "<0.1 %" if share < 0.1 else f"{in_decimals(round(share, 10), 1, ROUND_CEILING)} %" if share < 1000 else "open"
    )


def shares(proven: float, left: float) -> tuple[str, str]:
    """The share that is proven, rounded down, and the one that is not falsified, rounded up; of one number twice it."""
    low, high = share_ends(proven, left)
    return low.replace("%", " %"), high.replace("%", " %")


def duration(seconds: float | str | None) -> str:
    """Seconds in the units that a reader would choose."""
    known = number(seconds)
    if not math.isfinite(known) or known == 0:
        return "–"
    if known < 10:
        return f"{known:.2f} s"
    if known < 60:
        return f"{known:.0f} s"
    if known < 3600:
        return f"{known // 60:.0f} min {known % 60:02.0f} s"
    return f"{known // 3600:.0f} h {known % 3600 // 60:02.0f} min"


def remaining(seconds: float | str | None) -> str:
    """Time left, in whole seconds: nobody knows it better."""
    known = number(seconds)
    return f"{math.ceil(known)} s" if 0 < known < 60 else duration(known)


def moment(written: str | None) -> str:
    """Date and minute of a time as the interface writes it."""
    return "–" if not written else written.replace("T", " ")[:16]


def status(sample: Mapping[str, Any]) -> str:
    """One word of STATES: the verdict where there is one, else what is being done."""
    known = str(sample["verdict"] or "") if sample["state"] == "done" else str(sample["state"])
    return known if known in STATES else "waiting"


def name(run: Mapping[str, Any]) -> str:
    """What a run is called: its title, or its model and data."""
    return str(run.get("title") or f"{run['model']['name']} on {run['data']['name']}")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count and its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def sentence(run: Mapping[str, Any]) -> str:
    """What a run asks, in one sentence."""
    options, model, data = run.get("options") or {}, run["model"]["name"], run["data"]["name"]
    samples = f"{counted(run['counts']['total'], 'sample')} of {data}"
    measure = MEASURES.get(options.get("norm") or "linf", "L∞")
    radius = f"{measure} distance {as_given(number(run.get('radius')))}"
    targets = options.get("targets")
    others = "another class" if not targets else f"class {' or '.join(map(str, targets))}"
    wins = f" by a margin of {as_given(options['margin'])}" if options.get("margin") else ""
    adversary = f"that {model} puts in {others}{wins}"
    if options.get("change") is not None:
        adversary = f"that moves an output of {model} by more than {as_given(number(options['change']))}"
    match run["question"]:
        case "verify":
            asked = f"Is there an input within {radius} of each of {samples} {adversary}"
        case "margin":
            asked = (
                f"How far can {others} lead over the predicted one, within {radius} of each of {samples}, in {model}"
            )
        case "report":
            asked = f"How near do bounds and attacks come to the exact {measure} distances of {samples}, in {model}"
        case _:
            asked = f"How far, in {measure}, is each of {samples} from the nearest input {adversary}"
    return f"{'; '.join([asked, *_conditions(run)])}?"


def _conditions(run: Mapping[str, Any]) -> list[str]:
    """Which inputs count, and how they move, where that is not any of the box in their own units."""
    options, arrays = run.get("options") or {}, run.get("arrays") or {}
    words = {
        "mask": "only inputs of {} move", "scale": "moves are counted in units of {}", "grid": "inputs lie on {}",
        "constraints": "only inputs within {} count",
    }  # fmt: skip
    told = [words[name].format(one["name"]) for name, one in arrays.items()]
    if isinstance(options.get("grid"), int):
        told.append(f"inputs are multiples of 1/{options['grid']}")
    if options.get("perturbation"):
        told.append(f"what moves is {options['perturbation']}, in place of inputs")
    if options.get("execution") not in (None, "real"):
        told.append(f"as executed in {options['execution']}")
    return told


def command(run: Mapping[str, Any]) -> str | None:
    """The command that asks the same on the reader's own machine; None for what takes several networks."""
    if run["question"] not in ("distance", "verify", "margin", "report"):
        return None
    parts = ["plumbline", run["question"], run["model"]["name"], "--data", run["data"]["name"]]
    if run.get("samples"):
        parts += ["--samples", str(run["samples"])]
    if run.get("radius") is not None:
        parts += ["--radius", as_given(number(run["radius"]))]
    options = {"norm": "linf", **(run.get("options") or {})}
    options |= {name: one["name"] for name, one in (run.get("arrays") or {}).items()}
    for name, value in options.items():
        flag = "--target" if name == "targets" else f"--{name.replace('_', '-')}"
        if value is True:
            parts.append(flag)
        elif value is not None and value is not False:
            parts += [f"{flag}={_written(value)}"] if isinstance(value, list) else [flag, _written(value)]
    if run.get("proofs"):
        parts += ["--proofs"] if run["question"] == "report" else ["--proof", "proofs"]
    return shlex.join(parts)


def _written(value: Any) -> str:
    """An option as the command line takes it."""
    if isinstance(value, list):
        return ",".join(map(_written, value))
    return as_given(value) if isinstance(value, float) else str(value)
