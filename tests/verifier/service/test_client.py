"""The command line and Python as clients: the same rows, files and exit status as without a server."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import DataError, OptionError, SoundnessError
from tests.verifier.service.asking import NET
from tests.verifier.service.conftest import answering
from tests.verifier.two_nets import two_nets
from verifier.cli.main import main
from verifier.service.client import PAUSES, ServerError, connect
from verifier.service.settings import Settings

pytestmark = pytest.mark.usefixtures("quick_attacks")


@pytest.fixture
def url(settings: Settings, reading_here: None) -> Iterator[str]:
    """A server with a worker, on a port of its own."""
    with answering(settings, workers=1) as (found, _):
        yield found


def rows(text: str) -> list[str]:
    """What a command printed, without how long it took."""
    timeless = (re.sub(r" \d+\.\d\d |; seconds a sample.*", " ", line) for line in text.splitlines())
    return sorted(" ".join(line.split()) for line in timeless)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file for each option that takes one."""
    half = np.arange(64) < 40
    np.save(tmp_path / "mask.npy", half)
    np.save(tmp_path / "scale.npy", np.where(half, 1.0, 2.0))
    np.savez(tmp_path / "constraints.npz", A=np.eye(64)[:2], b=np.full(2, 0.9))
    np.save(tmp_path / "grid.npy", np.where(half, 16, 32))
    return {path.stem: path for path in tmp_path.iterdir() if path.suffix in (".npy", ".npz")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("verify", ""), ("margin", ""), ("verify", "mask scale constraints"), ("margin", "mask scale constraints"),
        ("verify", "grid mask"),
    ],
)  # fmt: skip
@pytest.mark.fewer(2)
def test_the_same_rows_files_and_status(
    url: str, command: str, given: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    flags = [part for name in given.split() for part in (f"--{name}", str(files[name]))]
    ask = [command, str(NET), "--data", "digits", "--samples", "0:1" if flags else "0:3", "--radius", "0.02"]
    for where in ("here", "there"):
        out = ["--json", str(tmp_path / f"{where}.jsonl"), "--out", str(tmp_path / where)]
        out += [] if "grid" in given else ["--proof", str(tmp_path / f"{where}-proofs")]
        server = ["--server", url] if where == "there" else []
        assert main([*ask, "--ordered", *flags, *out, *server]) == 0
        told.append(rows(capsys.readouterr().out))
    assert told[0] == told[1]
    here, there = (
        {one["index"]: one for one in map(json.loads, (tmp_path / f"{where}.jsonl").read_text().splitlines())}
        for where in ("here", "there")
    )
    for index, record in here.items():
        other = there[index]
        untimed = {"seconds": 0, "nodes": 0, "proof": 0, "attempts": len(record["attempts"])}
        assert {**record, **untimed} == {**other, **untimed, "attempts": len(other["attempts"])}
    for made in ("", *([] if "grid" in given else ["-proofs"])):
        names = [sorted(path.name for path in (tmp_path / f"{where}{made}").iterdir()) for where in ("here", "there")]
        assert names[0] == names[1]


@pytest.mark.slow
def test_a_perturbation_is_asked_of_a_server(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for where, server in (("here", []), ("there", ["--server", url])):
        ask = ["distance", str(NET), "--data", "digits", "--samples", "0:1", "--perturbation", "brightness"]
        status = main([*ask, "--out", str(tmp_path / where), *server])
        told.append((status, rows(capsys.readouterr().out), sorted(path.name for path in (tmp_path / where).iterdir())))
    assert told[0] == told[1]
    here, there = (np.load(tmp_path / where / told[0][2][0])["variables"] for where in ("here", "there"))
    assert (here == there).all()
    (run,) = connect(url)._json("GET", "/runs")["items"]
    assert not run["has_report"]
    with pytest.raises(ServerError, match="a report knows no perturbation"):
        connect(url).run(run["id"]).report()


def test_what_a_file_says_wrong_is_told_by_its_name(url: str, tmp_path: Path) -> None:
    service = connect(url)
    np.save(tmp_path / "short.npy", np.ones(3))
    body = {"model": service.upload_model(NET), "data": "digits", "question": "distance"}
    with pytest.raises(OptionError, match=r"^short.npy: a scale of 3 entries does not fit"):
        service.ask(NET, "digits", "verify", radius=0.1, samples="0:1", scale=tmp_path / "short.npy")
    with pytest.raises(OptionError, match="leave out one of the two"):
        service.ask(NET, "digits", "distance", mask=tmp_path / "short.npy", perturbation="brightness")
    with pytest.raises(ServerError, match="array 'nothing': there is none"):
        service._json("POST", "/runs", json={**body, "options": {"mask": "nothing"}})
    with pytest.raises(OptionError, match="mask: a service takes the id of a file"):
        service.ask(NET, "digits", "distance", mask=3)


@pytest.mark.slow
def test_an_array_that_a_run_names_stays(url: str, files: dict[str, Path]) -> None:
    service = connect(url)
    key = service.upload_array(files["mask"])
    assert service.upload_array(files["mask"]) == key
    run = service.ask(NET, "digits", "verify", radius=0.01, samples="0:1", mask=files["mask"])
    list(run.records())
    assert run.state()["arrays"]["mask"]["name"] == "mask.npy"
    with pytest.raises(ServerError, match="runs are about this array"):
        service._json("DELETE", f"/arrays/{key}")
    for path in (f"/runs/{run.key}", f"/arrays/{key}"):
        with service._asked("DELETE", path) as answer:
            assert answer.status_code == 204
    with pytest.raises(ServerError, match="there is none"):
        service._json("GET", f"/arrays/{key}")


@pytest.mark.release
def test_an_open_sample_is_status_1_and_a_run_is_come_back_to(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["distance", str(NET), "--data", "digits", "--samples", "0:2", "--time-limit", "1e-4", "--engine", "search"]
    assert main([*ask, "--server", url]) == 1
    first = rows(capsys.readouterr().out)
    (run,) = connect(url)._json("GET", "/runs")["items"]
    assert main([*ask, "--server", f"{url}/runs/{run['id']}"]) == 1
    assert rows(capsys.readouterr().out) == first
    assert connect(url)._json("GET", "/runs")["total"] == 1


@pytest.mark.slow
def test_another_question_does_not_come_back_to_a_run(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = connect(url).ask(NET, "digits", "verify", radius=0.01, samples="0:1", box=[0.0, 1.0])
    for changed, named in ((["--radius", "0.02"], "radius"), (["--radius", "0.01", "--norm", "l2"], "options")):
        ask = ["verify", str(NET), "--data", "digits", "--samples", "0:1", "--server", run.url]
        assert main([*ask, *changed]) == 2
        assert f"is about another {named}" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_detaches_and_says_how_to_come_back(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        while not connect(url)._json("GET", "/runs")["total"]:
            time.sleep(0.05)
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert main(["distance", str(NET), "--data", "digits", "--samples", "0:300", "--server", url]) == 130
    said = capsys.readouterr().err
    (run,) = connect(url)._json("GET", "/runs")["items"]
    assert f"--server {url}/runs/{run['id']} comes back" in said
    assert run["state"] in ("queued", "running")


UNKNOWN: list[tuple[dict[str, str], list[str], str]] = [
    ({}, ["--mask", "m.npy"], "m.npy: no such file"),
    ({}, ["--mask", "m.npy", "--perturbation", "haze"], "--mask is about inputs"),
    ({}, ["--shard", "1/2"], "--shard means nothing to a server: its workers share the samples"),
    ({}, ["--again", "0"], "--again means nothing"),
    ({}, ["--jobs", "2"], "--jobs means nothing"),
    ({}, ["--device", "cpu"], "--device means nothing"),
    ({"--data": "mnist"}, [], "mnist: a server takes an .npz, an .npy, or digits"),
    ({"--server": "localhost"}, [], "give a URL such as"),
]


def test_what_a_server_does_not_know(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for changed, more, sentence in UNKNOWN:
        flags = {"--data": "digits", "--samples": "0:1", "--server": url} | changed
        given = [part for flag in flags.items() for part in flag]
        assert main(["distance", str(NET), *given, *more]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_from_python(url: str, tmp_path: Path) -> None:
    service = verifier.connect(url)
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 64), dtype=np.float32))
    run = service.ask(NET, tmp_path / "d.npz", "verify", radius=1e-6, norm="l2", title="zeros")
    assert sorted(record["index"] for record in run.records()) == [0, 1]
    assert service.upload_model(NET) == service.upload_model(NET)
    assert service.upload_data(tmp_path / "d.npz") == run.state()["data"]["id"]
    assert run.state()["title"] == "zeros"
    assert service.run(run.key).key == run.key
    with pytest.raises(OptionError, match="choose from linf"):
        service.ask(NET, "digits", "verify", radius=0.1, norm="l7")
    with pytest.raises(ServerError, match="there is none"):
        service.run("nothing")
    with pytest.raises(DataError, match="no such file"):
        service.upload_data(tmp_path / "none.npz")


@pytest.mark.slow
def test_an_alarm_is_an_alarm_here_too(settings: Settings, reading_here: None) -> None:
    with answering(settings) as (url, service):
        run = connect(url).ask(NET, "digits", "verify", radius=0.1, samples="0:2")
        service.store.register("w")
        service.store.claim("w")
        service.store.fail("w", run.key, 0, "SOUNDNESS ALARM: sample 0: out of order", alarm=True)
        with pytest.raises(SoundnessError, match="sample 0: out of order"):
            list(run.records())


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.service.client.PAUSES", PAUSES[:1])
    with pytest.raises(ServerError, match="no server answers there"):
        connect("http://127.0.0.1:9").run("x")


@pytest.mark.slow
def test_events_miss_nothing_when_a_listener_comes_back(url: str) -> None:
    run = connect(url).ask(NET, "digits", "verify", radius=0.02, samples="0:12")
    ended: list[int] = []
    last: dict[str, Any] = {}
    while last.get("state") != "finished":
        for kind, told in run.events():  # one event at a time, and the line is left
            if kind == "sample" and told["state"] == "done":
                ended.append(told["index"])
            last = told if kind == "run" else last
    items = list(run.samples())
    assert sorted(set(ended)) <= list(range(12))
    assert [item["index"] for item in items] == list(range(12))
    assert sorted(item["index"] for item in run.finished()) == list(range(12))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_charts", "quick_attacks")
def test_a_report_is_written_here_of_what_a_server_measures(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (net, _), data = two_nets(tmp_path)
    ask = ["report", net, "--data", data, "--samples", "0:2", "--norm", "linf,l2", "--bounds", "crown"]
    ask += ["--attacks", "fgsm", "--proofs", "--radius", "linf:0.2", "--format", "json,csv"]
    for where, server in (("here", []), ("there", ["--server", url])):
        assert main([*ask, "--out", str(tmp_path / where), *server]) == 0
    here, there = (tmp_path / where for where in ("here", "there"))
    told = [json.loads((folder / "report.json").read_text()) for folder in (here, there)]
    assert told[0]["robust"] == told[1]["robust"]
    assert [one["radius"] for one in told[1]["robust"]][:2] == [0.0, 0.2]
    for one, other in zip(told[0]["samples"], told[1]["samples"], strict=True):
        for name in ("index", "norm", "verdict", "lower", "upper", "target", "found_by", "basis", "adversary"):
            assert one[name] == other[name]
    assert (here / "curves.csv").read_text() == (there / "curves.csv").read_text()
    for part in ("adversaries", "proofs"):
        held = [
            sorted(str(path.relative_to(folder)) for path in (folder / part).rglob("*.*")) for folder in (here, there)
        ]
        assert held[0] == held[1] != []
    runs = [one["id"] for one in connect(url)._json("GET", "/runs")["items"]][::-1]
    again = [*ask, "--out", str(tmp_path / "again"), "--server", f"{url}/runs/{','.join(runs)}"]
    assert main(again) == 0
    assert connect(url)._json("GET", "/runs")["total"] == 2
    capsys.readouterr()
    assert main([*again[:-1], f"{url}/runs/{runs[1]}"]) == 2
    assert "is about another options" in capsys.readouterr().err
    assert main([*ask, "--budget", "99", "--server", url]) == 2
    assert "--budget means nothing to a server" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn_charts", "quick_attacks", "few_radii")
@pytest.mark.release
def test_a_comparison_is_written_here_of_what_a_server_measures(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nets, data = two_nets(tmp_path)
    ask = ["compare", *nets, "--data", data, "--samples", "0:2", "--norm", "linf,l2", "--pictures", "0"]
    said = []
    for where, server in (("here", []), ("there", ["--server", url])):
        assert main([*ask, "--out", str(tmp_path / where), *server]) == 0
        printed = capsys.readouterr().out.splitlines()
        said.append([line.rpartition(" | ")[0] for line in printed if " | " in line])  # without the seconds
    assert said[0] == said[1]
    for name in ("curves.csv", "transfer.csv", "scale.csv"):
        assert (tmp_path / "here" / name).read_text() == (tmp_path / "there" / name).read_text()
    both = [one["id"] for one in connect(url)._json("GET", "/comparisons")["items"]][::-1]
    back = [*ask, "--out", str(tmp_path / "there"), "--server", f"{url}/comparisons/{','.join(both)}"]
    assert main(back) == 0
    assert connect(url)._json("GET", "/comparisons")["total"] == 2
    for more, sentence in (
        (["--jobs", "2"], "--jobs means nothing to a server"),
        (["--tolerance", "1e-3"], "is about other networks, samples or options"),
    ):
        assert main([*back, *more]) == 2
        assert sentence in capsys.readouterr().err
