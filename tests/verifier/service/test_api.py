"""The REST interface: models, data, runs, samples, exports."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx.external_data_helper import convert_model_to_external_data
from PIL import Image

from tests.verifier.service.asking import NET, asked, ended, uploaded
from trainers.datasets import digits
from verifier.cli.main import main
from verifier.service.settings import Settings

pytestmark = pytest.mark.usefixtures("quick_attacks")


def npz(**arrays: object) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)  # type: ignore[arg-type]
    return held.getvalue()


def refused(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem of that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert "\n" not in told["detail"]
    return str(told["detail"])


def test_a_model_from_upload_to_deletion(client: httpx.Client) -> None:
    key = uploaded(client)
    found = client.get(f"/models/{key}").json()
    assert (found["name"], found["facts"]["neurons"], found["facts"]["classes"]) == (NET.name, 64, 10)
    assert [layer["kind"] for layer in found["facts"]["layers"]] == ["input", "dense", "relu", "dense", "relu", "dense"]
    assert client.get(f"/models/{key}/file").content == NET.read_bytes()
    assert [one["id"] for one in client.get("/models", params={"sha256": found["sha256"]}).json()["items"]] == [key]
    assert client.get("/models", params={"sha256": "0" * 64}).json()["total"] == 0
    assert client.delete(f"/models/{key}").status_code == 204
    assert "there is none" in refused(client.get(f"/models/{key}"), 404)


def test_a_model_with_external_data(client: httpx.Client, tmp_path: Path) -> None:
    proto = onnx.load(NET)
    convert_model_to_external_data(proto, location="weights.bin", size_threshold=0)
    onnx.save(proto, tmp_path / "net.onnx")
    files = [("files", (name, (tmp_path / name).read_bytes())) for name in ("net.onnx", "weights.bin")]
    found = client.post("/models", files=files).json()
    assert list(found["external"]) == ["weights.bin"]
    assert "missing" in refused(client.post("/models", files=files[:1]), 422)
    more = [*files, ("files", ("other.bin", b"x"))]
    assert "does not name other.bin" in refused(client.post("/models", files=more), 422)


def test_an_upload_that_is_not_what_was_sent(client: httpx.Client) -> None:
    answer = client.post("/models", files={"files": (NET.name, NET.read_bytes())}, data={"sha256": "0" * 64})
    assert "send it again" in refused(answer, 400)


def test_what_is_not_supported_is_told_as_the_command_line_does(
    client: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")
    assert main(["inspect", str(path)]) == 2
    sentence = capsys.readouterr().err.strip().removeprefix("plumbline: ").replace(f"{tmp_path}/", "")
    assert refused(client.post("/models", files={"files": (path.name, path.read_bytes())}), 422) == sentence


def test_data_sets(client: httpx.Client) -> None:
    x, y = digits("test").x[:3], digits("test").y[:3]
    labelled = client.post("/data", files={"files": ("d.npz", npz(x=x, y=y))}).json()
    assert (labelled["count"], labelled["shape"], labelled["labelled"]) == (3, [64], True)
    held = io.BytesIO()
    np.save(held, x)
    assert not client.post("/data", files={"files": ("d.npy", held.getvalue())}).json()["labelled"]
    pictures = []
    for k in (0, 1):
        image = io.BytesIO()
        Image.fromarray(np.full((8, 8), 100 * k, dtype=np.uint8)).save(image, "PNG")
        pictures.append(("files", (f"{k}.png", image.getvalue())))
    found = client.post("/data", files=pictures).json()
    assert (found["name"], found["count"], found["shape"]) == ("2 pictures", 2, [8, 8])
    listed = client.get("/data").json()
    assert (listed["total"], listed["items"][0]["id"], listed["items"][0]["builtin"]) == (4, "digits", True)
    for key in ("digits", labelled["id"], found["id"]):
        picture = client.get(f"/data/{key}/samples/1.png")
        assert Image.open(io.BytesIO(picture.content)).size == (192, 192)
    assert "holds 3 samples" in refused(client.get(f"/data/{labelled['id']}/samples/3.png"), 404)
    assert client.delete(f"/data/{labelled['id']}").status_code == 204
    refused(client.delete("/data/digits"), 404)


def test_a_question_that_cannot_be_asked(client: httpx.Client) -> None:
    whole = {"model": uploaded(client), "data": "digits", "samples": "0:2", "question": "distance"}
    wide = client.post("/data", files={"files": ("wide.npz", npz(x=np.zeros((2, 65), np.float32)))}).json()["id"]
    refusals: list[tuple[dict[str, object], str]] = [
        ({"samples": "0:4000"}, "samples '0:4000': the data holds 397 samples, 0 to 396"),
        ({"question": "verify"}, "radius: verify needs a radius"),
        ({"radius": 0.1}, "radius: distance has no radius; leave it out"),
        ({"options": {"norm": "l7"}}, "norm 'l7': choose from linf, l1, l2, l0"),
        ({"options": {"nrom": "l1"}}, "did you mean norm?"),
        ({"options": {"time_limit": -1}}, "time_limit"),
        ({"options": {"engine": "os:system"}}, "engine 'os:system': a service takes Plumbline's own by name"),
        ({"options": {"device": "cuda"}}, "option 'device'"),
        ({"options": {"box": [0.5, 1.0]}}, "sample 0 holds values from 0 to 1, outside the box 0.5,1"),
        ({"options": {"norm": "l0"}, "proofs": True}, "no proofs: "),
        ({"data": "nothing"}, "data set 'nothing': there is none"),
        ({"data": wide}, "wide.npz: samples of shape (65,) do not fit"),
    ]
    for more, sentence in refusals:
        answer = client.post("/runs", json=whole | more)
        assert sentence in refused(answer, 404 if "nothing" in sentence else 422)
    assert client.get("/runs").json()["total"] == 0


def test_the_same_key_asks_once(client: httpx.Client) -> None:
    body = {"model": uploaded(client), "data": "digits", "samples": "0:2", "question": "distance"}
    first, second = (client.post("/runs", json=body, headers={"Idempotency-Key": "k"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    other = client.post("/runs", json={**body, "samples": "0:3"}, headers={"Idempotency-Key": "k"})
    assert "another question" in refused(other, 409)


@pytest.mark.slow
def test_answers_are_the_command_lines(working: httpx.Client, tmp_path: Path) -> None:
    run = asked(working, "0:2", proofs=True)
    assert ended(working, run["id"])["state"] == "finished"
    assert main(["distance", str(NET), "--data", "digits", "--samples", "0:2", "--json", str(tmp_path / "j")]) == 0
    theirs = {one["index"]: one for one in map(json.loads, (tmp_path / "j").read_text().splitlines())}
    ours = [json.loads(line) for line in working.get(f"/runs/{run['id']}/export.jsonl").text.splitlines()]
    assert [one["index"] for one in ours] == [0, 1]
    for one in ours:
        their = theirs[one["index"]]
        same = ("label", "predicted", "norm", "radius", "verdict", "target", "engine", "basis", "run")
        assert {name: one[name] for name in same} == {name: their[name] for name in same}
        assert one["lower"] <= their["upper"] + 1e-6
        assert their["lower"] <= one["upper"] + 1e-6
    rows = list(csv.DictReader(io.StringIO(working.get(f"/runs/{run['id']}/export.csv").text)))
    assert [row["verdict"] for row in rows] == ["exact"] * 2

    items = working.get(f"/runs/{run['id']}/samples").json()["items"]
    assert all(one["has_adversary"] and one["has_proof"] and one["why_open"] is None for one in items)
    assert items[0]["history"][-1][1:] == [items[0]["lower"], items[0]["upper"]]
    with np.load(io.BytesIO(working.get(f"/runs/{run['id']}/samples/0/adversary.npz").content)) as arrays:
        assert np.abs(arrays["difference"]).max() == pytest.approx(items[0]["upper"])
    for name in ("original", "adversary", "difference"):
        assert working.get(f"/runs/{run['id']}/samples/0/{name}.png").headers["content-type"] == "image/png"

    with zipfile.ZipFile(io.BytesIO(working.get(f"/runs/{run['id']}/proofs.zip").content)) as archive:
        assert archive.namelist() == ["0.proof", "1.proof"]
        archive.extract("0.proof", tmp_path)
    assert working.get(f"/runs/{run['id']}/samples/0/proof").content == (tmp_path / "0.proof").read_bytes()
    assert main(["check", str(tmp_path / "0.proof"), "--model", str(NET)]) == 0

    curve = working.get(f"/runs/{run['id']}/curve").json()
    assert curve["certified"][0] == curve["not_falsified"][0] == 1.0
    assert curve["certified"][-1] == curve["not_falsified"][-1] == 0.0
    page = working.get(f"/runs/{run['id']}/report")
    assert page.status_code == 200, page.text
    assert "<html" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert working.delete(f"/runs/{run['id']}").status_code == 204
    refused(working.get(f"/runs/{run['id']}/samples"), 404)


@pytest.mark.parametrize(
    ("question", "more", "verdicts"),
    [
        ("verify", {"radius": 0.01}, {"certified"}),
        ("verify", {"radius": 0.3}, {"falsified"}),
        ("margin", {"radius": 0.02}, {"exact"}),
        ("report", {"options": {"bounds": ["crown"], "attacks": ["pgd"]}}, {"exact"}),
    ],
)
@pytest.mark.fewer(1)
def test_the_other_questions(working: httpx.Client, question: str, more: dict[str, object], verdicts: set[str]) -> None:
    run = asked(working, "0:2", question, **more)
    found = ended(working, run["id"])
    assert found["state"] == "finished", found
    items = working.get(f"/runs/{run['id']}/samples").json()["items"]
    assert {one["verdict"] for one in items} == verdicts
    if question == "margin":
        assert "no distance" in refused(working.get(f"/runs/{run['id']}/curve"), 404)


@pytest.mark.release
def test_more_time_goes_on_with_what_is_open(working: httpx.Client) -> None:
    run = asked(working, "0:3", options={"time_limit": 1e-4, "engine": "search"})
    found = ended(working, run["id"])
    assert found["counts"]["unresolved"] == 3
    first = working.get(f"/runs/{run['id']}/samples/0").json()
    assert "more time" in first["why_open"]
    assert working.post(f"/runs/{run['id']}/resume", json={"time_limit": None}).json()["state"] == "queued"
    again = ended(working, run["id"])
    assert again["counts"]["exact"] == 3
    second = working.get(f"/runs/{run['id']}/samples/0").json()
    assert (second["attempt"], second["why_open"]) == (2, None)
    assert second["lower"] >= first["lower"]
    assert "nothing to go on" in refused(working.post(f"/runs/{run['id']}/resume", json={}), 409)


def test_a_cancelled_run_stops(working: httpx.Client) -> None:
    run = asked(working, "0:300")
    assert working.post(f"/runs/{run['id']}/cancel").json()["state"] == "cancelled"
    assert "not at work" in refused(working.post(f"/runs/{run['id']}/cancel"), 409)


def test_limits_health_and_metrics(client: httpx.Client, settings: Settings) -> None:
    assert client.get("/limits").json()["samples"] == settings.limits.samples
    assert client.get("/healthz").json()["status"] == "ok"
    assert 'plumbline_workers{state="alive"} 0.0' in client.get("/metrics").text


def test_pages_of_lists(client: httpx.Client) -> None:
    key = uploaded(client)
    runs = [asked(client, "0:2", model=key)["id"] for _ in range(3)]
    first = client.get("/runs", params={"limit": 2}).json()
    rest = client.get("/runs", params={"limit": 2, "cursor": first["next"]}).json()
    assert [one["id"] for one in (*first["items"], *rest["items"])] == runs[::-1]
    assert (first["total"], rest["next"]) == (3, None)
    assert client.get("/runs", params={"state": "finished"}).json()["total"] == 0
