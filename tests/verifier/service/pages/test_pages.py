"""Pages as they are sent, read without a browser: what they say, what they never hold, and who may see them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.verifier.service.pages.conftest import NET
from tests.verifier.service.pages.fake_service import FakeService, application
from verifier.service.pages import drawing, wording
from verifier.service.pages.comparing import leads, paired

HOSTILE = "<script>alert(1)</script>\" onload='x"
HEADERS = {"X-Plumbline": "1", "Idempotency-Key": "k"}


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of pages whose runs are finished: a distance, a decision, a greatest lead, and a distance to targets."""
    service = FakeService(tmp_path_factory.mktemp("service"), step_seconds=0.0)
    model = service.add_model(f"{HOSTILE}.onnx", NET.read_bytes())["id"]
    with TestClient(application(service)) as found:
        for question, radius in (("distance", None), ("verify", 0.05), ("margin", 0.05)):
            asked = {"model": model, "data": "digits", "question": question, "radius": radius, "title": HOSTILE}
            options = {"norm": "linf", "time_limit": 5}
            found.post("/runs", json={**asked, "samples": "0:10", "options": options, "proofs": True}, headers=HEADERS)
        targeted = {
            "model": model,
            "data": "digits",
            "question": "distance",
            "samples": "0:10",
            "options": {"targets": [3]},
        }
        found.post("/runs", json=targeted, headers=HEADERS)
        while any(run["state"] != "finished" for run in service.runs.values()):
            time.sleep(0.01)
        yield found


PAGES = (
    "/", "/?part=runs", "/view/runs/run1", "/view/runs/run2?sort=gap&order=desc", "/view/runs/run3",
    "/view/runs/run1?verdict=unresolved", "/view/runs/run1/samples/4", "/view/runs/run1/samples/0?part=sample",
    "/view/compare?runs=run1,run2", "/view/compare?runs=run1&runs=run3", "/view/data/digits",
    "/view/comparisons/run1-run2", "/view/comparisons/run1-run2?part=runs",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_nothing_of_a_user_is_code_and_nothing_is_inline(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    assert "alert(1)</script>" not in answer.text
    read = Tags()
    read.feed(answer.text)
    for tag, attributes in read.found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        addresses = [attributes[name] or "" for name in ("src", "href", "action") if name in attributes]
        assert all(re.match(r"[/?#][^/]?", address) and not address.startswith("//") for address in addresses), tag
        assert tag != "style"
        assert tag != "script" or list(attributes) == ["src"]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"


def test_a_run_says_what_was_asked_and_what_came_of_it(client: TestClient) -> None:
    text = re.sub(r"<[^>]*>|\s+", " ", client.get("/view/runs/run2").text)
    assert "Is there an input within L∞ distance 0.05 of each of 10 samples of digits" in text
    assert "10 of 10 answered" in text
    assert "--radius 0.05 --norm linf --time-limit 5" in text
    assert all(word in text for word in ("certified", "falsified", "unresolved", "misclassified"))
    assert "Why is this open?" in client.get("/view/runs/run2?sample=4").text
    assert "12 phases are open" in client.get("/view/runs/run2?sample=4").text


def test_a_report_is_offered_where_there_is_one(client: TestClient) -> None:
    offered = [f'href="/runs/run{k}/report"' in client.get(f"/view/runs/run{k}").text for k in (1, 2, 3, 4)]
    assert offered == [True, True, False, False]  # neither a lead nor what targets were asked of


def test_a_filter_and_an_order_need_no_script(client: TestClient) -> None:
    rows = re.findall(
        r'<tr data-sample="(\d+)"', client.get("/view/runs/run1?verdict=exact&sort=upper&order=desc").text
    )
    assert len(rows) == 8
    assert rows[0] == "8"


def test_a_sample_says_how_its_proof_is_checked(client: TestClient) -> None:
    text = client.get("/view/runs/run1/samples/0").text
    assert re.search(r"python -m verifier.checker 0.proof --model [0-9a-f]+.onnx<", text)  # no name that a user gave
    assert 'href="/runs/run1/samples/0/proof"' in text
    assert re.search(r'data-shown="has_proof" hidden', client.get("/view/runs/run1/samples/7").text)


def test_compared_runs_tell_what_differs(client: TestClient) -> None:
    text = client.get("/view/compare?runs=run1,run2").text
    assert "Of 10 common samples" in re.sub(r"\s+", " ", text)
    assert "numbers are not the same thing" not in text
    assert "numbers are not the same thing" in client.get("/view/compare?runs=run1,run3").text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/view/runs/none", 404, "There is no &#39;none&#39;; see the list."),
        ("/view/runs/run1/samples/99", 404, "There is no 99; see the list."),
        ("/view/models/none", 404, "There is no &#39;none&#39;"),
        ("/view/data/none", 404, "There is no &#39;none&#39;"),
        ("/view/compare?runs=run1", 400, "Choose two runs"),
        ("/static/routes.py", 404, "There is no such page"),
        ("/view/anything/else", 404, "There is no such page"),
        ("/view/runs/run1/samples/first", 404, "There is no such page"),
        ("/static/..%2froutes.py", 404, ""),
    ],
)
def test_what_is_refused_is_said_in_the_interface_s_words(
    client: TestClient, path: str, status: int, said: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert said in answer.text


def test_who_is_not_known_is_asked_for_a_token(tmp_path: Path) -> None:
    with TestClient(application(FakeService(tmp_path, 0.0, token="secret"))) as client:
        answer = client.get("/")
        assert answer.status_code == 401
        assert 'action="/session"' in answer.text
        assert client.post("/session", data={"token": "secret"}).status_code == 204
        assert "Ask a network" in client.get("/").text


def test_static_files_are_kept_for_good_under_an_address_of_their_bytes(client: TestClient) -> None:
    (address,) = re.findall(r'src="(/static/service.js[^"]*)"', client.get("/").text)
    answer = client.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")


def test_numbers_keep_their_width() -> None:
    words = [wording.below(held) for held in (0.05, 0.0312345, 12, 1e-5, "inf", -0.25, 0.0, None)]
    assert words == ["0.05000", "0.03123", "12.00", "1.000e-05", "∞", "−0.2500", "0", "–"]
    assert [wording.gap(*sides) for sides in ((1, 1), (0.5, 1.0), (0, "inf"), ("inf", "inf"))] == [
        "0 %", "50.0 %", "open", "0 %",
    ]  # fmt: skip
    assert [wording.gap(*sides) for sides in ((0.05, 0.0500008), (0.99995, 1.0), (0.99899, 1.0), (0.3, 0.4))] == [
        "0 %", "<0.1 %", "0.2 %", "25.0 %",
    ]  # fmt: skip
    assert [wording.duration(held) for held in (0.314, 42, 200, 7500)] == ["0.31 s", "42 s", "3 min 20 s", "2 h 05 min"]


def test_shares_claim_no_more_than_is_known() -> None:
    assert wording.shares(2 / 3, 0.66671) == ("66.6 %", "66.7 %")
    assert wording.shares(1 - 9 / 10, 0.3) == ("10.0 %", "30.0 %")  # a tenth, as floats subtract it
    assert wording.shares(0.99999, 0.99999) == ("99.9 %", "99.9 %")
    assert wording.shares(1.0, 1.0) == ("100.0 %", "100.0 %")


@pytest.mark.parametrize("held", [0.03123999, 0.03123001, -0.03123999, 0.99999, 9999.51, 1e-9 / 3, -2 / 3])
def test_no_side_of_a_bracket_is_shown_as_more_than_is_known(held: float) -> None:
    low, high = [float(side(held).replace("−", "-")) for side in (wording.below, wording.above)]
    assert low <= held <= high
    assert high - low <= 1.001e-3 * abs(held)


def test_a_question_is_told_to_its_last_digit() -> None:
    run: dict[str, Any] = {
        "question": "verify", "radius": 0.1 + 0.2, "counts": {"total": 1}, "model": {"name": "m"},
        "data": {"name": "d"}, "options": {"norm": "linf", "box": [0.0, 1 / 3], "margin": 1e-7 / 3},
    }  # fmt: skip
    assert "L∞ distance 0.30000000000000004 of" in wording.sentence(run)
    assert f"by a margin of {1e-7 / 3!r}?" in wording.sentence(run)
    assert "--radius 0.30000000000000004" in str(wording.command(run))
    assert f"--box=0,{1 / 3!r}" in str(wording.command(run))


def test_what_is_not_plain_of_a_question_is_told() -> None:
    run: dict[str, Any] = {
        "question": "distance", "radius": None, "counts": {"total": 2}, "model": {"name": "n"}, "samples": "0:2",
        "data": {"name": "d"}, "options": {"mask": "7c", "change": 0.5, "execution": "float32", "targets": None},
        "arrays": {"mask": {"id": "7c", "name": "mask.npy", "sha256": ""}},
    }  # fmt: skip
    assert wording.sentence(run) == (
        "How far, in L∞, is each of 2 samples of d from the nearest input that moves an output of n by more than 0.5; "
        "only inputs of mask.npy move; as executed in float32?"
    )
    assert wording.command(run) == (
        "plumbline distance n --data d --samples 0:2 --norm linf --mask mask.npy --change 0.5 --execution float32"
    )
    run |= {"question": "margin", "radius": 0.1, "options": {"each": True, "targets": [3, 5]}, "arrays": {}}
    asked = "plumbline margin n --data d --samples 0:2 --radius 0.1 --norm linf --each --target=3,5"
    assert wording.command(run) == asked
    assert wording.command(run | {"proofs": True}) == f"{asked} --proof proofs"
    assert str(wording.command(run | {"question": "report", "proofs": True})).endswith(" --proofs")


def test_a_scale_holds_every_bracket() -> None:
    rows: list[dict[str, Any]] = [{"lower": 0.1, "upper": 0.4}, {"lower": -1.0, "upper": "inf"}]
    held = drawing.scale(rows, None, signed=True)
    assert held.low < -1.0 < 0.4 < held.high
    assert [held.place(end) for end in (held.low, held.high, "inf", "-inf")] == [0.0, 100.0, 100.0, 0.0]
    assert drawing.scale([], 0.5).high > 0.5


def test_layers_are_as_wide_as_the_logarithm_of_their_size() -> None:
    facts = {"inputs": 64, "input_shape": [8, 8], "layers": [
        {"name": "a", "kind": "dense", "size": 8}, {"name": "b", "kind": "relu", "size": 8}]}  # fmt: skip
    first, linear, relu = drawing.layers(facts)
    assert (first.width, first.name, linear.width) == (100.0, "8 × 8", 54.0)
    assert (linear.rectifies, relu.rectifies) == (False, True)


def test_a_pair_is_told_apart_only_where_brackets_are() -> None:
    def rows(*brackets: tuple[float, float | str]) -> list[dict[str, Any]]:
        return [{"index": k, "lower": low, "upper": high, "state": "done", "verdict": "exact"}
                for k, (low, high) in enumerate(brackets)]  # fmt: skip

    pairs = paired(rows((2, 3), (1, 1), (1, 2), (1, 1)), rows((1, 1), (2, "inf"), (1.5, 3), (1, 1)))
    assert [pair.lead for pair in pairs] == ["first", "second", "open", "same"]
    assert leads(pairs)["open"] == 1
