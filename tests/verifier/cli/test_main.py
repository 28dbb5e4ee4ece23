"""The command line: what it prints, what it saves, and its exit status."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import SolverError, SoundnessError
from trainers.datasets import digits
from verifier import __version__
from verifier import answer as query
from verifier.cli.main import main
from verifier.cli.parser import parse

pytestmark = pytest.mark.usefixtures("quick_attacks")

ROOT = Path(__file__).parents[3]
NET = str(ROOT / "trainers" / "nets" / "digits-64-32-32-10.onnx")
TINY_RADIUS = ["verify", NET, "--data", "digits", "--radius", "0.001"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run, check status 2 and one single line on stderr, and return that line."""
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(str(exit_.code))
    error = capsys.readouterr().err
    assert status == 2, error
    assert error.count("\n") == 1
    return error


def test_help_has_examples_and_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    for word in ("inspect", "distance", "verify", "examples:", "exit status:", "--radius", "--jobs"):
        assert word in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"plumbline {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("distance", "transfer", "--time-limit", "--regularizer"):
        assert word in script


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom verifier.cli.main import main\n"
        "try: main(['distance', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'onnxruntime', 'scipy', 'highspy', 'sklearn', 'shtab'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "plumbline", "distance"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "plumbline distance: the following arguments are required: MODEL" in done.stderr


def test_arguments_by_hand() -> None:
    arguments = parse(["distance", "m.onnx", "--data", "d.npz", "--target", "3,5", "--box", "-1,1.5"])
    assert (arguments.target, arguments.box) == ((3, 5), (-1.0, 1.5))
    assert parse(["verify", "m", "--data", "d", "--radius", "1"]).box == (0.0, 1.0)


@pytest.mark.slow
def test_distance_writes_rows_journal_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, out = tmp_path / "results.jsonl", tmp_path / "out"
    arguments = ["distance", NET, "--data", "digits", "--samples", "2,0", "--json", str(journal), "--out", str(out)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    found = lines(journal)
    assert sorted(line["index"] for line in found) == [0, 2]
    for line in found:
        assert line["verdict"] == "exact"
        assert line["label"] == digits("test").y[line["index"]]
        assert 0 < line["lower"] <= line["upper"] <= line["lower"] + 1e-6
        with np.load(out / f"adversary-{line['index']}.npz") as arrays:
            np.testing.assert_array_equal(arrays["original"], digits("test").x[line["index"]])
            changed = np.abs(arrays["adversary"].astype(np.float64) - arrays["original"]).max()
            assert changed == pytest.approx(line["upper"], abs=1e-12)
            assert int(arrays["scores"].argmax()) == line["target"] != line["predicted"]
        assert (out / f"adversary-{line['index']}.png").stat().st_size > 0
        assert f"{line['upper']:.7f}" in shown
    assert "2 samples: 2 exact" in shown


def test_a_second_run_resumes_and_other_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "results.jsonl"
    arguments = [*TINY_RADIUS, "--json", str(journal)]
    assert main([*arguments, "--samples", "0:2"]) == 0
    before = journal.read_bytes()
    asked: list[object] = []
    honest = query.asked

    def counting(*given: Any) -> Any:
        asked.append(given[5])
        return honest(*given)

    monkeypatch.setattr("verifier.runs.job.asked", counting)
    assert main([*arguments, "--samples", "0:3"]) == 0
    assert asked == [2]
    assert journal.read_bytes().startswith(before)
    assert [line["index"] for line in lines(journal)] == [0, 1, 2]
    capsys.readouterr()
    error = refused(capsys, *arguments, "--margin", "0.5", "--norm", "l1")
    assert "margin was 0.0, now 0.5" in error
    assert 'norm was "linf", now "l1"' in error
    assert [line["index"] for line in lines(journal)] == [0, 1, 2]


def test_certified_falsified_and_misclassified(tmp_path: Path) -> None:
    data = digits("test")
    wrong = (data.y[:1] + 1) % 10
    np.savez(tmp_path / "wrong.npz", x=data.x[:1], y=wrong)
    verdicts = {}
    for name, arguments in {
        "certified": ["digits", "--samples", "0", "--radius", "0.0001"],
        "falsified": ["digits", "--samples", "0", "--radius", "0.9"],
        "misclassified": [str(tmp_path / "wrong.npz"), "--radius", "0.1"],
    }.items():
        journal = tmp_path / f"{name}.jsonl"
        assert main(["verify", NET, "--json", str(journal), "--data", *arguments]) == 0
        verdicts[name] = lines(journal)[0]["verdict"]
    assert verdicts == {name: name for name in verdicts}


def test_a_tiny_time_limit_leaves_samples_unresolved_with_status_1(tmp_path: Path) -> None:
    journal = tmp_path / "results.jsonl"
    net = str(ROOT / "trainers" / "nets" / "digits-64-64-64-10.onnx")
    arguments = ["distance", net, "--data", "digits", "--samples", "0:2", "--norm", "l1", "--time-limit", "1e-9"]
    assert main([*arguments, "--json", str(journal)]) == 1
    assert {line["verdict"] for line in lines(journal)} == {"unresolved"}
    assert all(float(line["lower"]) <= float(line["upper"]) for line in lines(journal))
    assert main([*arguments, "--json", str(journal)]) == 1


def test_an_alarm_stops_the_run_and_saves_what_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = query.asked

    def alarmed(*given: Any) -> Any:
        if given[5] == 1:
            raise SoundnessError("proven 0.2 above 0.1")
        return honest(*given)

    monkeypatch.setattr("verifier.runs.job.asked", alarmed)
    journal, mask = tmp_path / "results.jsonl", tmp_path / "mask.npy"
    np.save(mask, np.arange(64) < 32)
    one_by_one = ["--samples", "0:3", "--batch", "1"]
    assert main([*TINY_RADIUS, *one_by_one, "--json", str(journal), "--mask", str(mask)]) == 3
    error = capsys.readouterr().err
    assert "SOUNDNESS ALARM: sample 1: proven 0.2 above 0.1" in error
    assert str(tmp_path / "alarm-1.json") in error
    assert [line["index"] for line in lines(journal)] == [0]
    told = json.loads((tmp_path / "alarm-1.json").read_text())
    assert (told["index"], told["model"]) == (1, str(Path(NET)))
    assert told["run"] == lines(journal)[0]["run"]
    with np.load(tmp_path / "alarm-1.npz") as arrays:
        np.testing.assert_array_equal(arrays["x"], digits("test").x[1:2])
        np.testing.assert_array_equal(arrays["y"], digits("test").y[1:2])
        np.testing.assert_array_equal(arrays["mask"], np.arange(64) < 32)


def test_a_solver_that_fails_costs_one_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = query.asked

    def failing(*given: Any) -> Any:
        if given[5] == 0:
            raise SolverError("crashed")
        return honest(*given)

    monkeypatch.setattr("verifier.runs.job.asked", failing)
    journal = tmp_path / "results.jsonl"
    assert main([*TINY_RADIUS, "--samples", "0:2", "--json", str(journal)]) == 2
    assert "plumbline: sample 0: crashed\n" in capsys.readouterr().err
    assert [line["index"] for line in lines(journal)] == [1]


def test_an_unexpected_error_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> Any:
        raise ZeroDivisionError("no\nluck")

    monkeypatch.setattr("verifier.runs.job.asked", broken)
    monkeypatch.delenv("PLUMBLINE_TRACEBACK", raising=False)
    assert "ZeroDivisionError: no luck" in refused(capsys, *TINY_RADIUS, "--samples", "0")
    monkeypatch.setenv("PLUMBLINE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main([*TINY_RADIUS, "--samples", "0"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prove", NET], "prove"),
        (["distance", NET], "--data"),
        (["verify", NET, "--data", "digits"], "--radius"),
        (["verify", NET, "--data", "digits", "--radius", "-1"], "radius -1"),
        (["verify", NET, "--data", "digits", "--radius", "nan"], "radius nan"),
        (["verify", NET, "--data", "digits", "--radius", "x"], "--radius"),
        (["distance", NET, "--data", "digits", "--norm", "l7"], "l7"),
        (["distance", NET, "--data", "digits", "--target", "10", "--samples", "0"], "target 10"),
        (["distance", NET, "--data", "digits", "--target", "a"], "'a' is no class"),
        (["distance", NET, "--data", "digits", "--margin", "-1"], "margin"),
        (["distance", NET, "--data", "digits", "--box", "1,0"], "box"),
        (["distance", NET, "--data", "digits", "--box", "1"], "box"),
        (["distance", NET, "--data", "digits", "--box", "0.5,1"], "outside the box"),
        (["distance", NET, "--data", "digits", "--samples", "5:5"], "empty"),
        (["distance", NET, "--data", "digits", "--samples", "0:1000"], "397 samples"),
        (["distance", NET, "--data", "digits", "--time-limit", "0"], "time_limit"),
        (["distance", NET, "--data", "digits", "--tolerance", "-1"], "tolerance"),
        (["distance", NET, "--data", "digits", "--batch", "0"], "batch 0"),
        (["distance", NET, "--data", "digits", "--share", "2"], "--share is called --batch now"),
        (["report", NET, "--data", "digits", "--bounds", "moments"], "'moments' is called sdp-one-layer now"),
        (["distance", NET, "--data", "digits", "--engine", "magic"], "magic"),
        (["distance", NET, "--data", "digits", "--device", "abacus"], "abacus"),
        (["distance", NET, "--data", "digits", "--jobs", "0"], "jobs"),
        (["distance", NET, "--data", "digits", "--jobs", "1000000"], "jobs 1000000: this machine has"),
        (["distance", NET, "--data", "digits", "--norm", "linf", "--norm", "l1"], "--norm is given twice"),
        (
            ["distance", NET, "--data", "digits", "--engine", "pyomo:nosuch"],
            "Pyomo cannot call a solver named 'nosuch'",
        ),
        (["distance", NET, "--data", "digits", "--json", "/no/such/a.jsonl"], "there is no folder /no/such"),
        (["distance", NET, "--data", "digits", "--out", __file__], "it is a file; name a folder"),
        (["distance", NET, "--data", "digits", "--json", "/nowhere/at/all.jsonl"], "/nowhere/at/all.jsonl"),
        (["distance", NET, "--data", "missing.npz"], "missing.npz"),
        (["distance", NET, "--data", "digits", "--mask", "missing.npy"], "missing.npy"),
        (["distance", "missing.onnx", "--data", "digits"], "missing.onnx"),
        (["inspect", "missing.onnx"], "missing.onnx"),
        (["inspect", __file__], "test_main.py"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refused(capsys, *arguments)


def test_inspect_tells_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", NET]) == 0
    text = capsys.readouterr().out
    facts = dict(line.split(maxsplit=1) for line in text.splitlines() if "float32" not in line)
    assert facts["operators"] == "Gemm x3, Relu x2 (opset 17)"
    assert facts["ReLUs"] == "64"
    assert facts["layers"] == "5"
    assert facts["parameters"] == f"{64 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10:,}"
    assert facts["output"] == "scores: 10 classes"
    assert facts["SHA-256"] == hashlib.sha256(Path(NET).read_bytes()).hexdigest()
    assert "compared         5 tensors on 6 inputs with onnxruntime, one by one and in a batch" in text


def test_inspect_names_what_is_not_supported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    model = onnx.load(NET)
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Erf"
    onnx.save(model, str(tmp_path / "erf.onnx"))
    assert main(["inspect", str(tmp_path / "erf.onnx")]) == 2
    shown = capsys.readouterr()
    assert "not supported" in shown.out
    assert "relu1" in shown.out
    assert "Erf" in shown.out
    assert shown.err.count("\n") == 1


def started(journal: Path) -> subprocess.Popen[str]:
    """Two workers on all the digits, in a process group of their own, that have just brought the first results."""
    # A shell starts what it puts into the background with Ctrl-C ignored, tests too: the command gets it back. Its
    # workers are forks of one process, as those of the fixture `warm_workers` are.
    program = (
        "import multiprocessing, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "context = multiprocessing.get_context('forkserver'); context.set_forkserver_preload(['verifier.runs.run']); "
        "multiprocessing.get_context = lambda method: context; "
        "from verifier.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["distance", NET, "--data", "digits", "--jobs", "2", "--batch", "1", "--json", str(journal)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    patience = time.monotonic() + 600
    while not (journal.exists() and b"\n" in journal.read_bytes()) and time.monotonic() < patience:
        time.sleep(0.02)
    return process


def test_interrupt_keeps_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = query.asked

    def interrupted(*given: Any) -> Any:
        if given[5] == 1:
            signal.raise_signal(signal.SIGINT)
        return honest(*given)

    monkeypatch.setattr("verifier.runs.job.asked", interrupted)
    monkeypatch.setattr("verifier.runs.run.slots_for", lambda *anything: 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([*TINY_RADIUS, "--samples", "0:3", "--json", str(tmp_path / "results.jsonl")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "plumbline: interrupted; what was finished is kept\n"
    assert [line["index"] for line in lines(tmp_path / "results.jsonl")] == [0, 1]


@pytest.mark.slow
def test_interrupt_of_several_processes_keeps_what_is_finished(tmp_path: Path) -> None:
    journal = tmp_path / "results.jsonl"
    process = started(journal)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130, error
    *progress, stopping, last = error.splitlines()  # where the machine is slow, a line for each sample that takes long
    assert stopping == "plumbline: stopping, and writing down what is known; once more to end at once"
    assert last == "plumbline: interrupted; what was finished is kept"
    assert all(line.startswith("sample ") for line in progress), error
    found = lines(journal)
    assert 1 <= len(found) < 397
    closed = next(line["index"] for line in found if line["verdict"] != "unresolved")
    assert main(["distance", NET, "--data", "digits", "--samples", str(closed), "--json", str(journal)]) == 0
    assert lines(journal) == found


@pytest.mark.release
def test_interrupt_does_not_reach_processes_that_are_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = SpawnProcess.start
    signalled = []

    def interrupted_at_once(process: SpawnProcess) -> None:
        start(process)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        signalled.append(process.pid)

    monkeypatch.setattr(SpawnProcess, "start", interrupted_at_once)
    journal = tmp_path / "results.jsonl"
    given = [*TINY_RADIUS, "--samples", "0:4", "--jobs", "2", "--batch", "1"]
    assert main([*given, "--json", str(journal)]) == 0, capsys.readouterr().err
    assert len(signalled) == 2
    assert {line["index"] for line in lines(journal)} == set(range(4))  # where it is slow, brackets on the way as well


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    process = started(tmp_path / "results.jsonl")
    process.kill()
    # The workers hold the other end of stderr: it closes when the last of them has ended.
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL
