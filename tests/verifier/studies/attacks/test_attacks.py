"""`plumbline attack`, `universal` and `transfer`: what they print and save, and that nothing is believed unreplayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bounds.attacks import ATTACKS, PORTFOLIO, Attack, AttackBatch, AttackOptions, Candidates, portfolio
from bounds.attacks.universal import UniversalOptions
from encoders.errors import OptionError
from encoders.layer_graph.graph import affine_chain
from encoders.question import CONVEX, Norm
from tests.onnx_builder import to_onnx
from trainers.datasets import digits
from verifier.answer import asked, distance
from verifier.batching import attack_request as attack_ask
from verifier.batching.scheduler import Scheduler
from verifier.cli.main import main
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.results import Result
from verifier.studies.attacks.replayed import Attacking, Sample, attacks_named
from verifier.studies.attacks.transfer import Source, fooled, matrix, stretched
from verifier.studies.attacks.universal import find_universal, moved_by, rounded_down, shares_of

NETS = Path(__file__).parents[4] / "trainers" / "nets"
NET, OTHER = str(NETS / "digits-64-32-32-10.onnx"), str(NETS / "digits-64-64-64-10.onnx")

# y0 - y1 = x1 + x2 - 1: around (0.75, 0.75) the boundary is 0.25 away in L∞, 0.5 in L1.
SUM = affine_chain([np.array([[1.0, 1.0], [0.0, 0.0]])], [np.array([-1.0, 0.0])])
# y0 - y1 = x1 - 1/2: along x1 alone.
FIRST = affine_chain([np.array([[1.0, 0.0], [0.0, 0.0]])], [np.array([-0.5, 0.0])])


@pytest.fixture
def plus(tmp_path: Path) -> Model:
    return load(to_onnx(SUM, tmp_path / "sum.onnx"))


@pytest.fixture
def first(tmp_path: Path) -> Model:
    return load(to_onnx(FIRST, tmp_path / "first.onnx"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


# -- attack -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_every_attack_by_hand(plus: Model, norm: Norm) -> None:
    exact = {Norm.LINF: 0.25, Norm.L1: 0.5, Norm.L2: 0.5 / 2**0.5}[norm]
    names = (*ATTACKS, PORTFOLIO)
    done = Attacking(plus, Options(norm=norm), names).sample(np.array([0.75, 0.75]), label=0)
    assert [one.attack for one in done.found] == list(names)
    for one in done.found:
        assert one.adversary is not None
        assert exact < one.distance  # it wins strictly
        assert plus.scores(one.adversary.input[None]).argmax() == one.adversary.label == 1
        assert one.distance == norm.length(one.adversary.input.astype(np.float64) - 0.75)
        assert one.inputs == one.pixels == int((one.adversary.input != np.float32(0.75)).sum())
    assert done.best is not None
    assert done.best.distance == pytest.approx(exact, rel=1e-5)
    assert next(one for one in done.found if one.attack == "pixel-greedy").inputs == 1


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.release
def test_no_attack_goes_below_the_exact_distance() -> None:
    model, x = load(NET), digits("test").x[4]
    for norm in (Norm.LINF, Norm.L1):
        exact = distance(model, x, norm=norm).lower
        done = Attacking(model, Options(norm=norm), attacks_named(["all", "pixel-greedy"], norm)).sample(x)
        assert all(one.distance >= exact * (1 - 1e-6) for one in done.found)


def test_a_misclassified_sample_is_not_attacked(plus: Model) -> None:
    done = Attacking(plus, Options()).sample(np.array([0.75, 0.75]), label=1)
    assert done.misclassified
    assert (done.found, done.best) == ((), None)


def test_a_target_and_a_mask_are_heeded(plus: Model) -> None:
    done = Attacking(plus, Options(targets=(1,))).sample(np.array([0.75, 0.625]), mask=np.array([True, False]))
    assert done.best is not None
    assert done.best.distance == pytest.approx(0.375, rel=1e-5)
    assert done.best.inputs == 1


def test_names_of_attacks() -> None:
    assert attacks_named(["fgsm", "fgsm", "portfolio"], Norm.L1) == ("fgsm", "portfolio")
    everything = attacks_named(["all"], Norm.LINF)
    assert "portfolio" in everything
    assert not {"l-bfgs", "elastic-net", "pixel-greedy", "one-pixel"} & set(everything)
    assert attacks_named(["all"], Norm.L0) == ("carlini-wagner", "pixel-greedy", "one-pixel", "portfolio")
    assert "elastic-net" in attacks_named(["all"], Norm.L1)
    assert "carlini-wagner" in attacks_named(["all"], Norm.L2)
    with pytest.raises(OptionError, match="choose from fgsm"):
        attacks_named(["nonsense"], Norm.L1)
    with pytest.raises(OptionError, match="fgsm is not made for l0: choose from carlini-wagner, pixel-greedy"):
        attacks_named(["fgsm"], Norm.L0)


def test_what_takes_long_has_to_be_named() -> None:
    assert Norm.L2 in ATTACKS["l-bfgs"].norms
    assert "l-bfgs" not in attacks_named(["all"], Norm.L2)
    assert "l-bfgs" in attacks_named(["all", "l-bfgs"], Norm.L2)


@pytest.mark.usefixtures("brief_attacks")
def test_fewest_inputs_and_pixels(tmp_path: Path) -> None:
    # Two pixels of three channels: y0 - y1 = 2.5 - Σx, from 0. Three inputs, or one pixel.
    graph = affine_chain([np.array([[-1.0] * 6, [0.0] * 6])], [np.array([2.5, 0.0])])
    model = load(to_onnx(graph, tmp_path / "image.onnx", shape=(3, 1, 2)))
    for count, fewest in (("inputs", 3), ("pixels", 1)):
        question = Options(norm=Norm.L0, count=count)
        done = Attacking(model, question, attacks_named(["all"], Norm.L0)).sample(np.zeros((3, 1, 2)), label=0)
        for one in done.found:
            assert one.adversary is not None
            assert one.distance == (one.inputs if count == "inputs" else one.pixels) >= fewest
            assert one.attack == PORTFOLIO or one.distance == fewest
        assert distance(model, np.zeros((3, 1, 2)), norm="l0", count=count).upper == fewest


def test_attack_counts_in_l0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "l0.jsonl"
    arguments = ["attack", NET, "--data", "digits", "--samples", "0", "--norm", "l0", "--json", str(journal)]
    assert main([*arguments, "--attack", "pixel-greedy", "portfolio"]) == 0
    record = json.loads(journal.read_text())
    for one in record["attacks"].values():
        assert one["distance"] == one["inputs"] > 0
    assert record["upper"] == min(one["distance"] for one in record["attacks"].values())


def test_attack_writes_rows_a_journal_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, out = tmp_path / "attacks.jsonl", tmp_path / "out"
    arguments = ["attack", NET, "--data", "digits", "--samples", "0:2", "--json", str(journal), "--out", str(out)]
    arguments += ["--attack", "fgsm", "region-descent"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [record["index"] for record in records] == [0, 1]
    for record in records:
        assert record["verdict"] == "falsified"
        assert list(record["attacks"]) == ["fgsm", "region-descent"]
        assert record["upper"] == min(one["distance"] for one in record["attacks"].values())
        with np.load(out / f"adversary-{record['index']}.npz") as arrays:
            assert float(arrays["distance"]) == record["upper"]
            assert int(arrays["label"]) == record["target"] != record["predicted"]
    assert "region-descent" in shown
    assert "2 of 2 samples attacked" in shown

    before = journal.read_bytes()
    assert main(["0:3" if argument == "0:2" else argument for argument in arguments]) == 0
    assert journal.read_bytes().startswith(before)
    assert len(journal.read_text().splitlines()) == 3
    capsys.readouterr()
    assert "seed was 0, now 1" in refused(capsys, *arguments, "--seed", "1")


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
def test_attack_says_when_it_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = to_onnx(affine_chain([np.zeros((2, 2))], [np.array([1.0, 0.0])]), tmp_path / "flat.onnx")
    np.save(tmp_path / "x.npy", np.full((1, 2), 0.5))
    arguments = ["attack", str(flat), "--data", str(tmp_path / "x.npy"), "--attack", "all"]
    assert main([*arguments, "--json", str(tmp_path / "j.jsonl")]) == 1
    assert "nothing found" in capsys.readouterr().out
    record = json.loads((tmp_path / "j.jsonl").read_text())
    assert (record["verdict"], record["upper"], record["best"]) == ("unresolved", "inf", None)


def test_an_attack_that_lies_ends_the_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = ATTACKS["fgsm"].search

    def boasting(self: object, batch: AttackBatch, known: Candidates) -> Candidates:
        found = genuine(self, batch, known)  # type: ignore[arg-type]
        return Candidates(found.inputs, found.distances * 0.5, found.goal)

    monkeypatch.setattr(ATTACKS["fgsm"], "search", boasting)
    assert main(["attack", NET, "--data", "digits", "--samples", "0", "--attack", "fgsm"]) == 3
    assert "SOUNDNESS ALARM" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--attack", "x"], "choose from"), (["--norm", "l0", "--attack", "fgsm"], "not made for l0"),
     (["--count", "pixels"], "count"), (["--steps", "0"], "steps"), (["--samples", "9999"], "samples")],
)  # fmt: skip
def test_bad_attack_arguments(capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    assert said in refused(capsys, "attack", NET, "--data", "digits", *more)


# -- universal --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "least"), [(Norm.LINF, 0.2), (Norm.L1, 0.4), (Norm.L2, 0.2 * 2**0.5)])
def test_one_perturbation_by_hand(plus: Model, norm: Norm, least: float) -> None:
    # All of these are fooled once x1 + x2 falls by 0.4; the last cannot be with so little.
    x = np.array([[0.7, 0.7], [0.6, 0.7], [0.55, 0.5], [1.0, 1.0]], dtype=np.float32)
    delta = find_universal(plus, x, least * 1.05, Options(norm=norm), UniversalOptions())
    assert norm.length(delta.astype(np.float64)) <= least * 1.05
    assert shares_of(plus, x, None, delta, Options()).fooled == 0.75


@pytest.mark.parametrize("norm", list(CONVEX))
def test_rounding_never_lengthens(norm: Norm) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        delta = rng.normal(size=50)
        radius = float(norm.length(delta))
        single = rounded_down(delta, norm, radius)
        assert norm.length(single.astype(np.float64)) <= radius
        x = rng.random((3, 50)).astype(np.float32)
        moved = moved_by(x, single, (0.0, 1.0))
        assert ((moved >= 0) & (moved <= 1)).all()
        assert (norm.length(moved.astype(np.float64) - x) <= radius).all()
        short = np.float32(0.01) * single  # x + short is seldom a float32 number, and seldom outside the box
        assert (np.abs(moved_by(x, short, (0.0, 1.0)).astype(np.float64) - x) <= np.abs(short)).all()


RADIUS = "0.1500002"  # a length as long is no shorter in the six decimals that are shown


def test_universal_is_replayed_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["universal", NET, "--data", "digits", "--samples", "0:60", "--unseen", "60:80", "--radius", RADIUS]
    assert main([*arguments, "--steps", "60", "--restarts", "3", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "unseen (20 samples)" in shown
    told = json.loads((tmp_path / "universal.json").read_text())
    delta = np.load(tmp_path / "universal.npy")
    assert float(np.abs(delta.astype(np.float64)).max()) == told["length"] <= float(RADIUS)
    assert float(shown.split(" length ")[1].split()[0]) >= told["length"]  # an adversary is shown no nearer than it is
    model, x = load(NET), digits("test").x[:60]
    moved = np.clip(x.astype(np.float64) + delta.reshape(x.shape[1:]), 0, 1).astype(np.float32)
    flipped = model.scores(x.reshape(60, -1)).argmax(1) != model.scores(moved.reshape(60, -1)).argmax(1)
    assert told["shares"]["made from"]["fooled"] == pytest.approx(float(flipped.mean()), abs=1 / 60)
    assert told["shares"]["made from"]["fooled"] > told["shares"]["made from"]["noise"]
    assert (tmp_path / "universal.png").stat().st_size > 0


def test_universal_is_the_same_again() -> None:
    model, x = load(NET), digits("test").x[:30].reshape(30, -1)
    effort = UniversalOptions(seed=3, restarts=2, steps=10)
    first, second = (find_universal(model, x, 0.1, Options(), effort) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--radius", "0"], "radius"), (["--radius", "1", "--restarts", "0"], "restarts"),
     (["--radius", "1", "--samples", "0:3", "--unseen", "2"], "unseen")],
)  # fmt: skip
def test_bad_universal_arguments(capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    assert said in refused(capsys, "universal", NET, "--data", "digits", *more)


# -- transfer ---------------------------------------------------------------------------------------------------------


def test_transfer_by_hand(plus: Model, first: Model) -> None:
    # From (0.75, 0.75): half of it, (0.48, 0.48), fools both; (0.75, 0.2) only the sum; (0.3, 0.75) only x1.
    original = np.full((3, 2), 0.75, dtype=np.float32)
    moved = np.array([[0.48, 0.48], [0.75, 0.2], [0.3, 0.75]], dtype=np.float32)
    assert fooled(plus, original, moved).tolist() == [True, True, False]
    assert fooled(first, original, moved).tolist() == [True, False, True]
    right = np.array([True, True, True])
    sources = [
        Source(plus, right, np.array([0, 1, 2]), moved[[0, 1, 0]]),
        Source(first, np.array([True, True, False]), np.array([0]), moved[:1]),  # the last sample it gets wrong
    ]
    shares, counts = matrix(sources, original, 1.0, (0.0, 1.0))
    assert shares.tolist() == [[1.0, 0.5], [1.0, 1.0]]
    assert counts.tolist() == [[3, 2], [1, 1]]
    nothing = Source(first, right, np.zeros(0, dtype=np.int64), moved[:0])
    assert np.isnan(matrix([nothing, sources[0]], original, 1.0, (0.0, 1.0))[0][0]).all()


def test_stretching_stays_in_the_box() -> None:
    original, adversary = np.array([[0.5, 0.5]], dtype=np.float32), np.array([[0.75, 0.4]], dtype=np.float32)
    assert stretched(original, adversary, 4.0, (0.0, 1.0))[0].tolist() == pytest.approx([1.0, 0.1])


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
def test_transfer_prints_and_saves_its_matrices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["transfer", NET, OTHER, "--data", "digits", "--samples", "0:5", "--factor", "1", "--factor", "2"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert "100.0 %" in capsys.readouterr().out
    told = json.loads((tmp_path / "transfer.json").read_text())
    assert [one["factor"] for one in told["matrices"]] == [1.0, 2.0]
    shares = np.array(told["matrices"][0]["shares"])
    assert np.diag(shares).tolist() == [1.0, 1.0]
    assert ((shares >= 0) & (shares <= 1)).all()
    assert len((tmp_path / "transfer.csv").read_text().splitlines()) == 1 + 2 * 4


@pytest.mark.parametrize(
    ("more", "said"),
    [([], "two or more"), ([NET], "twice"), ([OTHER, "--factor", "-1"], "factor"),
     ([OTHER, "--factor", "nan"], "factor")],
)  # fmt: skip
def test_bad_transfer_arguments(capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    assert said in refused(capsys, "transfer", NET, *more, "--data", "digits", "--samples", "0")


def test_models_of_other_shapes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], first: Model) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 2), 0.5))
    three = affine_chain([np.ones((3, 2))], [np.arange(3.0)])
    other = to_onnx(three, tmp_path / "three.onnx")
    said = refused(capsys, "transfer", str(first.path), str(other), "--data", str(tmp_path / "x.npy"))
    assert "differ in inputs or classes" in said


def test_effort_reaches_the_attacks(plus: Model) -> None:
    idle = AttackOptions(time_limit=0.0)
    assert Attacking(plus, Options(), (PORTFOLIO,), idle).sample(np.array([0.75, 0.75])).best is None


# -- many samples at once ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
def test_rows_do_not_depend_on_the_size_of_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown, records = [], []
    for size in ("1", "2", "64"):
        journal = tmp_path / f"{size}.jsonl"
        arguments = ["attack", NET, "--data", "digits", "--samples", "0:3", "--attack", "fab", "portfolio", "fgsm"]
        assert main([*arguments, "--batch", size, "--json", str(journal)]) == 0
        shown.append(capsys.readouterr().out.splitlines()[:4])
        records.append([json.loads(line) for line in journal.read_text().splitlines()])
    assert shown[0] == shown[1] == shown[2]
    assert [record["index"] for record in records[2]] == [0, 1, 2]
    for one, other in zip(records[0], records[2], strict=True):
        assert one["run"] == other["run"]
        assert one["upper"] == pytest.approx(other["upper"], rel=1e-6)
        assert one["found_by"] == one["attacks"][one["best"]]["found_by"] in {"fab", "shrinking-pgd", "polish"}
        assert one["attacks"]["fgsm"]["found_by"] == "fgsm"


def test_the_winner_of_the_portfolio_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", NET, "--data", "digits", "--samples", "0"]) == 0
    assert "portfolio (polish)" in capsys.readouterr().out


def test_an_interrupted_run_keeps_its_finished_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "attacks.jsonl"
    arguments = ["attack", NET, "--data", "digits", "--samples", "0:5", "--attack", "fgsm", "--batch", "2"]
    genuine = Attacking.together
    calls: list[None] = []

    def interrupted(self: Attacking, *more: Any) -> Any:
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return genuine(self, *more)

    monkeypatch.setattr(Attacking, "together", interrupted)
    assert main([*arguments, "--json", str(journal)]) == 130
    assert [json.loads(line)["index"] for line in journal.read_text().splitlines()] == [0, 1, 2, 3]
    monkeypatch.undo()
    assert main([*arguments, "--json", str(journal)]) == 0
    assert [json.loads(line)["index"] for line in journal.read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_too_little_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = load(NET), digits("test")
    samples = [Sample(data.x[index], int(data.y[index]), index) for index in range(5)]
    genuine, sizes = ATTACKS["fgsm"].together, []

    def small(self: Attack, problems: Any, known: Any = None) -> Any:
        sizes.append(len(problems))
        if len(problems) > 2:
            raise torch.OutOfMemoryError
        return genuine(self, problems, known)

    monkeypatch.setattr(ATTACKS["fgsm"], "together", small)
    done = Attacking(model, Options(), ("fgsm",)).together(samples)
    assert sizes == [5, 2, 3, 1, 2]
    assert [one.index for one in done] == [0, 1, 2, 3, 4]
    assert all(one.best is not None for one in done)


def test_a_batch_of_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "batch 0" in refused(capsys, "attack", NET, "--data", "digits", "--batch", "0")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_attacks")
def test_samples_at_one_table_are_attacked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = load(NET), digits("test")
    together = []
    genuine = portfolio.walked

    def watched(problems: Any) -> Any:
        together.append(len(problems))
        return genuine(problems)

    monkeypatch.setattr(attack_ask, "walked", watched)

    def question(index: int) -> Any:
        return lambda clock: asked(
            model, data.x[index], None, Options(norm=Norm.L1), int(data.y[index]), index, None, None, clock
        )

    outcomes = dict(Scheduler(4).outcomes((index, question(index)) for index in range(4)))
    assert together[0] == 4
    for index, outcome in outcomes.items():
        assert isinstance(outcome, Result)
        alone = distance(model, data.x[index], norm="l1", label=int(data.y[index]))
        assert outcome.upper == pytest.approx(alone.upper, rel=2e-6)
        assert outcome.found_by in {"fab", "shrinking-pgd", "polish", "search"}
