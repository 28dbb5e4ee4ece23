"""Draw docs/_static/service-run.png: the page of a run in the middle of it, as a browser shows it.

python docs/figures/service_page.py
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from pathlib import Path

import httpx
import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from verifier.service.api.app import create_app
from verifier.service.service import Service
from verifier.service.settings import Settings
from verifier.service.worker import Worker

ROOT = Path(__file__).parents[2]
NET = ROOT / "trainers" / "nets" / "digits-64-32-32-10.onnx"
PICTURE = ROOT / "docs" / "_static" / "service-run.png"
ANSWERED = 12  # of SAMPLES, when the picture is taken
SAMPLES = "0:24"


def main() -> None:
    """Serve, ask, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), workers=0)
        service = Service.of(settings)
        worker = Worker("here", service.store, service.files, settings.place)
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(service, with_workers=False), log_level="error"))
        threads = [
            threading.Thread(target=server.run, kwargs={"sockets": [listening]}), threading.Thread(target=worker.work)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        taken(f"http://127.0.0.1:{listening.getsockname()[1]}")
        worker.stopping.set()
        server.should_exit = True
        for thread in threads:
            thread.join()


def taken(address: str) -> None:
    """Ask, wait until half is answered, and look."""
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        model = client.post("/models", files={"files": (NET.name, NET.read_bytes())}).json()["id"]
        asked = {"model": model, "data": "digits", "samples": SAMPLES, "question": "distance", "proofs": True}
        run = client.post("/runs", json={**asked, "options": {"norm": "linf", "time_limit": 60}}).json()["id"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1010})
        page.goto(f"{address}/view/runs/{run}")
        page.wait_for_function(
            "(least) => document.querySelectorAll('tr .is-exact').length >= least"
            " && document.querySelector('article .is-running')"
            " && JSON.parse(document.querySelector('article').dataset.history).length > 2",
            arg=ANSWERED, timeout=600_000,
        )  # fmt: skip
        page.screenshot(path=str(PICTURE))
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_selector(".state.is-cancelled")
        browser.close()
    with Image.open(PICTURE) as shot:
        shot.convert("RGB").quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
