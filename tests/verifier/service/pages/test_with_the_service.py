"""The pages in a browser in front of the service itself: one question from the file to the proof, and a token."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.verifier.service.pages.conftest import NET, drop, served
from verifier.service.access import new_token
from verifier.service.api.app import create_app
from verifier.service.service import Service
from verifier.service.settings import Settings
from verifier.service.worker import Worker
from verifier.studies.comparison.drawn_attacks import RADII

pytestmark = pytest.mark.slow


@pytest.fixture
def token() -> bool:
    """Whether the service asks for one."""
    return False


@pytest.fixture
def address(settings: Settings, reading_here: None, token: bool) -> Iterator[str]:
    """Where the service is, with one worker in this process."""
    settings = replace(settings, token_file=settings.data_dir.with_name("tokens") if token else None)
    if settings.token_file is not None:
        settings.data_dir.with_name("token").write_text(new_token(settings.token_file, "reader"))
    service = Service.of(settings)
    worker = Worker("here", service.store, service.files, settings.place)
    thread = threading.Thread(target=worker.work, daemon=True)
    thread.start()
    with served(create_app(service, with_workers=False)) as found:
        yield found
    worker.stopping.set()
    thread.join()


def test_from_the_file_to_the_proof(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(address)
    drop(page, (NET.name, NET.read_bytes()))
    expect(page.locator(".layers li")).to_have_count(6)
    page.fill("#samples", "0:2")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**/view/runs/*")
    expect(page.locator('[data-run-field="state"]')).to_have_text("finished", timeout=120_000)
    rows = page.locator("tr[data-sample]")
    expect(rows.first).to_contain_text("0.05256")
    expect(rows.first.locator('[data-field="to"]')).to_have_text("→9")
    expect(page.locator(".pictures img:visible")).to_have_count(3)
    page.goto(f"{page.url}/samples/0")
    names = []
    for words in ("Download the proof", "and the network"):
        with page.expect_download() as download:
            page.get_by_role("link", name=words).click()
        names.append(download.value.suggested_filename)
        download.value.save_as(tmp_path / names[-1])
    line = page.locator("pre code").inner_text().split()
    assert line[:3] == ["python", "-m", "verifier.checker"]
    assert {names[0], names[1]} <= set(line)
    done = subprocess.run([sys.executable, *line[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted: no adversary within linf 0.0525" in done.stdout


@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.release
def test_several_networks_from_the_files_to_the_page(page: Page, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.studies.comparison.drawn_attacks.RADII", RADII[::40])
    page.goto(address)
    drop(page, ("plain.onnx", NET.read_bytes()), ("again.onnx", NET.read_bytes()))  # one after the other
    expect(page.locator("#model option:checked")).to_have_text("again.onnx")
    page.fill("#samples", "0:1")
    expect(page.locator("#models")).to_be_hidden()
    page.get_by_text("Which of several networks").click()
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator('[data-problem="question"]')).to_contain_text("Choose at least one more network")
    page.locator("#models").select_option(label="plain.onnx")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**/view/comparisons/*")
    expect(page.locator(".sentence .state")).to_have_text("finished", timeout=120_000)
    expect(page.locator(".runs tbody tr")).to_have_count(2)
    expect(page.locator("figure.chart svg .line").first).to_be_attached()
    written = page.get_by_role("link", name="Curves, intervals and tests").get_attribute("href")
    assert "All 2 distances are exact" in httpx.get(f"{address}{written}", timeout=60.0).text
    page.locator('[data-act="delete"]').click()
    page.get_by_role("button", name="Delete for good?").click()
    page.wait_for_url("**/#runs")
    assert httpx.get(f"{address}/runs").json()["total"] == 0


@pytest.mark.parametrize("token", [True])
def test_a_token_is_asked_for_once(page: Page, address: str, settings: Settings) -> None:
    assert httpx.get(f"{address}/models").status_code == 401
    page.goto(address)
    expect(page.get_by_role("heading")).to_have_text("Sign in")
    page.get_by_label("Your token").fill(settings.data_dir.with_name("token").read_text())
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ask a network")
    drop(page, (NET.name, NET.read_bytes()))
    expect(page.locator(".model")).to_contain_text("64 ReLUs")
