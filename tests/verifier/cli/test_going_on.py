"""Commands that are stopped, gone on with, asked anew, split over jobs: the same answers, and nothing lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.draws import draws
from tests.stopping import Record, last, lines, signalled, true
from verifier.cli.main import main
from verifier.runs.journal import brackets
from verifier.runs.kept_adversaries import KeptAdversaries

ROOT = Path(__file__).parents[3]
NET = "trainers/nets/digits-64-32-32-10.onnx"
ASKED = {
    "distance": ["distance", NET, "--data", "digits", "--samples", "0:2"],
    "verify": ["verify", NET, "--data", "digits", "--samples", "0:6", "--radius", "0.07"],
    "margin": ["margin", NET, "--data", "digits", "--samples", "0:4", "--radius", "0.03"],
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, Record]]:
    """What runs that nobody stops answer."""
    folder = tmp_path_factory.mktemp("truth")
    for command, given in ASKED.items():
        assert main([*given, "--json", str(folder / f"{command}.jsonl")]) == 0
    return {command: last(folder / f"{command}.jsonl") for command in ASKED}


def stopped_again_and_again(command: str, exact: dict[int, Record], journal: Path, seed: int) -> int:
    """Stop a command at a random moment, go on, stop it again; how often it was stopped before it had all answers.

    Every line on the disk is held against the truth, and the last ones are what an undisturbed run says.
    """
    rng, stops = np.random.default_rng(seed), 0
    while True:
        number = int(rng.choice([signal.SIGINT, signal.SIGTERM]))
        status = 128 + number
        with signalled(number, float(rng.uniform(0.02, 1.5) * 1.3**stops)):
            status = main([*ASKED[command], "--json", str(journal), *(["--batch", "1"] if rng.random() < 0.5 else [])])
        found = lines(journal)
        assert all(true(record, exact[record["index"]]) for record in found)
        assert status in (0, 128 + number)
        if status == 0:
            break
        stops += 1
    assert set(last(journal)) == set(exact)
    for index, record in last(journal).items():
        assert record["verdict"] == exact[index]["verdict"]
        assert len(record["attempts"]) <= stops + 1
        assert record["seconds"] == pytest.approx(sum(one["seconds"] for one in record["attempts"]))
        assert [one["ended"] for one in record["attempts"]][-1] == "ended"
    return stops


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("command", ASKED)
def test_stopped_at_random_moments(command: str, truth: dict[str, dict[int, Record]], tmp_path: Path) -> None:
    for seed in range(draws(1, 4)):
        stopped_again_and_again(command, truth[command], tmp_path / f"{seed}.jsonl", seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", ASKED)
def test_stopped_at_hundreds_of_moments(command: str, truth: dict[str, dict[int, Record]], tmp_path: Path) -> None:
    stops, seed = 0, 100
    while stops < 150:
        stops += stopped_again_and_again(command, truth[command], tmp_path / f"{seed}.jsonl", seed)
        seed += 1


@pytest.mark.release
def test_what_is_killed_loses_no_more_than_was_not_due(tmp_path: Path) -> None:
    journal = tmp_path / "results.jsonl"
    program = (
        "import sys; import verifier.runs.running_brackets as brackets; brackets.EVERY = 0.0; "
        "from verifier.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    given = ["distance", NET, "--data", "digits", "--samples", "0:60", "--json", str(journal)]
    process = subprocess.Popen([sys.executable, "-c", program, *given], stdout=subprocess.DEVNULL, cwd=ROOT)
    patience = time.monotonic() + 600
    while time.monotonic() < patience and process.poll() is None:
        if journal.exists() and b'"ended": "running"' in journal.read_bytes():
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    *whole, _ = journal.read_text().split("\n")  # the last line may be cut short
    found = [json.loads(line) for line in whole]
    on_the_way = [record for record in found if record["attempts"][-1]["ended"] == "running"]
    assert on_the_way
    index = on_the_way[0]["index"]
    assert main(["distance", NET, "--data", "digits", "--samples", str(index), "--json", str(journal)]) == 0
    closed = last(journal)[index]
    assert closed["verdict"] in ("exact", "misclassified")
    assert all(true(record, closed) for record in found if record["index"] == index)


QUICK = ["verify", NET, "--data", "digits", "--radius", "0.01"]
HARD = ["distance", NET, "--data", "digits", "--samples", "0:2", "--batch", "1"]


@pytest.mark.slow
def test_more_time_goes_on_where_samples_are_open(tmp_path: Path, truth: dict[str, dict[int, Record]]) -> None:
    journal = tmp_path / "results.jsonl"
    assert main([*HARD, "--time-limit", "1e-6", "--json", str(journal)]) == 1
    first = last(journal)
    assert [record["verdict"] for record in first.values()] == ["unresolved"] * 2
    assert all("try more time" in record["why_open"] for record in first.values())
    assert main([*HARD, "--seed", "1", "--json", str(journal)]) == 0
    for index, record in last(journal).items():
        assert record["verdict"] == "exact"
        assert "why_open" not in record
        assert true(record, truth["distance"][index])
        assert [(one["time_limit"], one["seed"]) for one in record["attempts"]] == [(1e-6, 0), (None, 1)]
        assert record["lower"] >= first[index]["lower"]
    assert main([*HARD, "--json", str(journal)]) == 0
    assert len(lines(journal)) == 4  # nothing was open
    assert main([*HARD, "--again", "1", "--json", str(journal)]) == 0
    assert [record["index"] for record in lines(journal)[4:]] == [1]
    assert len(last(journal)[1]["attempts"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", ["distance", "margin", "range"])
def test_what_is_asked_anew_without_time_is_no_weaker(command: str, tmp_path: Path) -> None:
    journal, out = tmp_path / "results.jsonl", tmp_path / "out"
    row = ["--output-row", "1,-1,0,0,0,0,0,0,0,0"] if command == "range" else []
    asked = [command, NET, "--data", "digits", "--samples", "1", "--json", str(journal), *row]
    asked += [] if command == "distance" else ["--radius", "0.02"]
    assert main(asked) == 0
    (before,), kept = last(journal).values(), kept_of(journal, 1)
    assert main([*asked, "--again", "1", "--time-limit", "1e-6", "--out", str(out)]) == 0
    (now,) = last(journal).values()
    assert len(lines(journal)) == len(now["attempts"]) == 2
    assert brackets(now) == brackets(before)
    for name in ("verdict", "basis", "target", "found_by"):
        assert now.get(name) == before.get(name)
    assert "why_open" not in json.dumps(now)
    assert kept_of(journal, 1) == kept
    assert len(list(out.glob("*.npz"))) == (2 if command == "range" else 1)
    for path in out.glob("*.npz"):  # what is saved is what the line tells of
        name = path.stem.removesuffix("-1")
        with np.load(path) as saved:
            assert saved["adversary"].tobytes() == kept[f"{name}/input"]


def kept_of(journal: Path, index: int) -> dict[str, bytes]:
    with np.load(KeptAdversaries.beside(journal).folder / f"{index}.npz") as arrays:
        return {name: array.tobytes() for name, array in arrays.items()}


def test_an_earlier_bracket_that_cannot_be_is_an_alarm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "results.jsonl"
    one = ["distance", NET, "--data", "digits", "--samples", "0", "--json", str(journal)]
    assert main([*one, "--time-limit", "1e-6"]) == 1
    forged = {**lines(journal)[0], "lower": 0.9, "upper": "inf"}
    journal.write_text(json.dumps(forged) + "\n")
    capsys.readouterr()
    assert main(one) == 3
    assert "alarm" in capsys.readouterr().err


def test_out_that_comes_later_writes_what_is_missing(tmp_path: Path) -> None:
    journal, out = tmp_path / "results.jsonl", tmp_path / "out"
    falsified = ["verify", NET, "--data", "digits", "--samples", "0:3", "--radius", "0.3", "--json", str(journal)]
    assert main(falsified) == 0
    count = len(lines(journal))
    assert main([*falsified, "--out", str(out)]) == 0
    assert len(lines(journal)) == count
    found = last(journal)
    for index in range(3):
        with np.load(out / f"adversary-{index}.npz") as saved:
            assert float(saved["distance"]) == found[index]["upper"]
            assert int(saved["label"]) == found[index]["target"]
    assert (out / "adversary-0.png").exists()


def test_standard_output_is_records_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--samples", "0:2", "--json", "-"]) == 0
    shown = capfd.readouterr()
    assert [json.loads(line)["index"] for line in shown.out.splitlines()] == [0, 1]
    assert shown.err.splitlines()[0].startswith("sample label class")
    assert "2 samples" in shown.err


def test_rows_in_the_order_of_the_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--samples", "4,2,9,0", "--ordered"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:-1]
    assert [int(row.split()[0]) for row in rows] == [4, 2, 9, 0]


def test_shards_are_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / f"{part}.jsonl") for part in (1, 2, 3)]
    for part in (1, 3):
        assert main([*QUICK, "--samples", "0:7", "--shard", f"{part}/3", "--json", files[part - 1]]) == 0
    capsys.readouterr()
    table = tmp_path / "all.csv"
    assert main(["summary", files[0], files[2], "--samples", "0:7", "--csv", str(table)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [int(row.split()[0]) for row in shown[1:6]] == [0, 2, 3, 5, 6]
    assert shown[-1] == "missing: 1,4"
    header, *rows = table.read_text().splitlines()
    assert header.startswith("index,label,predicted,norm,radius,verdict,lower,upper")
    assert [row.split(",")[0] for row in rows] == ["0", "2", "3", "5", "6"]
    assert main([*QUICK, "--samples", "0:7", "--shard", "2/3", "--json", files[1]]) == 0
    assert main(["summary", *files]) == 0
    assert main([*QUICK, "--samples", "0:7", "--shard", "1/9"]) == 2
    for wrong in ("0/3", "4/3", "x"):
        with pytest.raises(SystemExit):
            main([*QUICK, "--shard", wrong])


def test_files_of_two_questions_are_no_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    assert main([*QUICK, "--samples", "0", "--json", files[0]]) == 0
    assert main([*QUICK[:-1], "0.02", "--samples", "0", "--json", files[1]]) == 0
    assert main(["summary", *files]) == 2
    assert "radius was 0.02, now 0.01" in capsys.readouterr().err


def test_adversaries_of_a_file_that_is_gone_are_none_of_the_next(tmp_path: Path) -> None:
    journal, out = tmp_path / "results.jsonl", tmp_path / "out"
    given = ["verify", NET, "--data", "digits", "--samples", "0:1", "--json", str(journal)]
    assert main([*given, "--radius", "0.3"]) == 0
    assert last(journal)[0]["verdict"] == "falsified"
    journal.unlink()
    assert main([*given, "--radius", "0.001"]) == 0
    assert main([*given, "--radius", "0.001", "--out", str(out)]) == 0
    assert last(journal)[0]["verdict"] == "certified"
    assert list(out.iterdir()) == []


def test_adversaries_of_another_file_are_not_saved_as_this_ones(tmp_path: Path) -> None:
    """As where a journal was copied, and beside it lie those of what had its name before."""
    journal, out = tmp_path / "results.jsonl", tmp_path / "out"
    asked = ["verify", NET, "--data", "digits", "--samples", "0:2", "--radius", "0.2", "--json", str(journal)]
    assert main(asked) == 0
    kept = KeptAdversaries.beside(journal)
    mine, other = (kept.read(index, 64)["adversary"] for index in (0, 1))
    kept.write(0, {"adversary": other})
    assert main([*asked, "--out", str(out)]) == 0
    assert [path.name for path in sorted(out.glob("*.npz"))] == ["adversary-1.npz"]
    kept.write(0, {"adversary": mine})
    assert main([*asked, "--out", str(out)]) == 0
    assert np.load(out / "adversary-0.npz")["distance"] == last(journal)[0]["upper"]
