"""Who may ask: tokens, rates, pages of other sites; one owner's things are invisible to another."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from encoders.errors import OptionError
from tests.verifier.service.asking import NET, asked, uploaded
from tests.verifier.service.conftest import serving
from tests.verifier.service.test_api import refused
from verifier.cli.main import main
from verifier.service.access import Rate, Tokens, new_token
from verifier.service.settings import Limits, Settings


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """Two owners and their tokens."""
    return {name: new_token(tmp_path / "tokens", name) for name in ("ann", "bob")}


@pytest.fixture
def guarded(settings: Settings, tokens: dict[str, str], tmp_path: Path, reading_here: None) -> Iterator[httpx.Client]:
    with serving(replace(settings, token_file=tmp_path / "tokens", host="0.0.0.0")) as (client, _):
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_only_digests_of_tokens_are_kept(tmp_path: Path, tokens: dict[str, str]) -> None:
    text = (tmp_path / "tokens").read_text()
    assert text.split() == [part for n, t in tokens.items() for part in (n, hashlib.sha256(t.encode()).hexdigest())]
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600
    with pytest.raises(OptionError, match="a token of 'ann' already"):
        new_token(tmp_path / "tokens", "ann")
    for name in ("", "a b", "a\nb", "ä"):
        with pytest.raises(OptionError, match="token name"):
            new_token(tmp_path / "tokens", name)


@pytest.mark.parametrize("text", ["", "ann\n", "ann xyz\n", "# nobody\n"])
def test_a_token_file_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(OptionError, match="each line is NAME and a SHA-256"):
        Tokens.read(tmp_path / "tokens")


def test_the_command_line_makes_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "tokens")
    assert main(["serve", "--token-file", path, "--new-token", "ann"]) == 0
    assert Tokens.read(Path(path)).owner(capsys.readouterr().out.strip()) == "ann"
    assert main(["serve", "--new-token", "ann"]) == 2


def test_others_than_this_machine_need_tokens(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give --token-file"):
        Settings(data_dir=tmp_path, host="0.0.0.0")
    assert Settings(data_dir=tmp_path, host="::1").only_this_machine


def test_nothing_is_told_without_a_token(guarded: httpx.Client, tokens: dict[str, str]) -> None:
    for path in ("/models", "/runs", "/limits", "/metrics", "/data/digits/samples/0.png"):
        assert "a token is needed" in refused(guarded.get(path), 401)
        assert guarded.get(path, headers=bearer("x" * 43)).status_code == 401
        assert guarded.get(path, headers=bearer(tokens["ann"])).status_code == 200
    assert guarded.get("/healthz").status_code == 200


@pytest.mark.slow
def test_one_owners_things_are_invisible_to_another(
    guarded: httpx.Client, tokens: dict[str, str], tmp_path: Path
) -> None:
    guarded.headers.update(bearer(tokens["ann"]))
    model = uploaded(guarded)
    run = asked(guarded, "0:2", model=model)["id"]
    paths = [f"/models/{model}", f"/runs/{run}", f"/models/{model}/file"]
    paths += [f"/runs/{run}/{part}" for part in ("samples", "samples/0", "events", "curve", "report", "export.jsonl")]
    paths += [f"/runs/{run}/{part}" for part in ("export.csv", "proofs.zip", "samples/0/original.png")]
    again = uploaded(guarded, Path(shutil.copy(NET, tmp_path / "again.onnx")))
    both = {"models": [model, again], "data": "digits", "samples": "0:2"}
    comparison = f"/comparisons/{guarded.post('/comparisons', json=both).json()['id']}"
    paths += [comparison, f"{comparison}/page"]
    for path in (f"/runs/{run}", f"/runs/{run}/samples", f"/runs/{run}/curve"):
        assert guarded.get(path).status_code == 200  # and is remembered
    guarded.headers.update(bearer(tokens["bob"]))
    for path in paths:
        assert "there is none" in refused(guarded.get(path), 404)
    for path in (f"/runs/{run}/cancel", f"/runs/{run}/resume", f"{comparison}/cancel", f"{comparison}/resume"):
        refused(guarded.post(path, json={}), 404)
    for path in (f"/models/{model}", f"/runs/{run}", comparison):
        refused(guarded.delete(path), 404)
    body = {"model": model, "data": "digits", "question": "distance"}
    refused(guarded.post("/runs", json=body), 404)
    refused(guarded.post("/comparisons", json=both), 404)
    assert [guarded.get(path).json()["total"] for path in ("/models", "/runs", "/comparisons")] == [0, 0, 0]


def test_a_page_signs_in_with_a_cookie(guarded: httpx.Client, tokens: dict[str, str]) -> None:
    assert "not known" in refused(guarded.post("/session", data={"token": "x"}), 401)
    answer = guarded.post("/session", data={"token": tokens["ann"]})
    assert answer.status_code == 204
    for word in ("HttpOnly", "SameSite=strict"):
        assert word in answer.headers["set-cookie"]
    assert guarded.get("/models").status_code == 200
    assert "X-Plumbline" in refused(guarded.post("/runs", json={}), 403)
    assert guarded.post("/runs", json={}, headers={"X-Plumbline": "1"}).status_code == 422


def test_pages_of_other_sites_change_nothing(client: httpx.Client) -> None:
    for headers in (
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1.attacker.example"},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        refused(client.post("/runs", json={}, headers=headers), 403)
    assert client.post("/runs", json={}, headers={"Origin": "http://localhost"}).status_code == 422


def test_who_asks_too_often_waits(settings: Settings, reading_here: None) -> None:
    with serving(replace(settings, limits=Limits(requests_per_minute=5))) as (client, _):
        assert [client.get("/limits").status_code for _ in range(6)] == [200] * 5 + [429]
        assert client.get("/limits").headers["retry-after"] == "1"
    rate = Rate(60_000)
    assert all(rate.take("a") for _ in range(1000))


def test_open_runs_and_samples_are_counted(settings: Settings, reading_here: None) -> None:
    with serving(replace(settings, limits=Limits(open_runs=1, samples=5))) as (client, _):
        model = uploaded(client)
        body = {"model": model, "data": "digits", "samples": "0:6", "question": "distance"}
        assert "at most 5 a run" in refused(client.post("/runs", json=body), 429)
        asked(client, "0:5", model=model)
        assert "1 runs are open" in refused(client.post("/runs", json={**body, "samples": "0:1"}), 429)


def test_every_answer_says_what_a_browser_may_do_with_it(client: httpx.Client) -> None:
    for path in ("/limits", "/nothing", "/runs/x"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
