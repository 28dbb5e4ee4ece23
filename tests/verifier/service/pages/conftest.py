"""One server and one browser for all tests of the pages; what a page must never do, looked at on every page."""

from __future__ import annotations

import base64
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.types import ASGIApp

from tests.verifier.service.pages.fake_service import FakeService, application

NET = Path(__file__).parents[4] / "trainers" / "nets" / "digits-64-32-32-10.onnx"
expect.set_options(timeout=20_000)
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> FakeService:
    """The interface with made-up answers, and one network in it."""
    held = FakeService(tmp_path_factory.mktemp("service"), step_seconds=0.02)
    held.add_model(NET.name, NET.read_bytes())
    return held


DROP = """(files) => {
  const dropped = new DataTransfer();
  for (const [name, content] of files) {
    dropped.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
  }
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Let files fall onto a page."""
    page.evaluate(DROP, [[name, base64.b64encode(content).decode()] for name, content in files])


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """An application on a port of its own, and where that is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    config = uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def address(service: FakeService) -> Iterator[str]:
    """Where it is served."""
    with served(application(service)) as found:
        yield found


@pytest.fixture(scope="module")  # while it is open an event loop runs in this thread, which others could not start
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A reader who has never been here."""
    held = browser.new_context(viewport={"width": 1280, "height": 900})
    held.set_default_timeout(15_000)
    yield held
    held.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """A tab; in the end, nothing went wrong in it and nothing was asked of anyone else."""
    found, wrong = context.new_page(), list[str]()
    found.on("console", lambda told: wrong.append(told.text) if told.type in ("error", "warning") else None)
    found.on("pageerror", lambda error: wrong.append(str(error)))

    def looked_at(url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and not url.startswith(address):
            wrong.append(f"asked of another: {url}")

    found.on("request", lambda request: looked_at(request.url))
    yield found
    assert not wrong
