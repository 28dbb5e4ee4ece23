"""The service's HTTP interface with made-up answers, in memory: brackets close in a second whatever is asked.

Models are read and pictures are the digits; everything else is a formula.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import math
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
from fastapi import APIRouter, FastAPI, Form, Header, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from onnx import numpy_helper
from PIL import Image

from trainers.datasets import digits
from verifier.service.pages.routes import router as pages

Item = dict[str, Any]
STEPS = 14
HARD = 4  # the last digit of samples that stay open below a limit of 100 s
WRONG = 7  # of samples that are classified wrongly
NOW = "2026-01-02T03:04:05Z"


class FakeService:
    """What the service would remember, and the formulas that it answers by."""

    def __init__(self, folder: Path, step_seconds: float, token: str | None = None) -> None:
        self.folder, self.step_seconds, self.token = folder, step_seconds, token
        self.events_at_once: int | None = None  # after so many, a connection breaks
        self.models: dict[str, Item] = {}
        self.runs: dict[str, Item] = {}
        self.samples: dict[str, dict[int, Item]] = {}
        self.events: dict[str, list[tuple[str, Item]]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.x, self.y = digits("test").x, digits("test").y
        builtin = {"sha256": "", "shape": list(self.x.shape[1:]), "labelled": True, "created_at": NOW}
        self.data: dict[str, Item] = {
            "digits": {"id": "digits", "name": "digits", "count": len(self.x), "builtin": True, **builtin}
        }

    def add_model(self, name: str, content: bytes) -> Item:
        """A model, read from its bytes."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / f"{digest[:12]}.onnx").write_bytes(content)
        found: Item = {
            "id": digest[:12], "name": name, "sha256": digest, "external": {}, "facts": _facts(content),
            "created_at": NOW,
        }  # fmt: skip
        self.models[digest[:12]] = found
        return found

    def ask(self, asked: Item) -> Item:
        """A run that goes on by itself from here."""
        number = f"run{len(self.runs) + 1}"
        first, last = (int(part) for part in (asked.get("samples") or "0:10").split(":"))
        data = {name: self.data[asked["data"]][name] for name in ("id", "name", "sha256")}
        run = {
            "id": number, "title": asked.get("title") or "", "model": self.models[asked["model"]], "data": data,
            "samples": asked.get("samples"), "question": asked["question"], "comparison": None,
            "radius": asked.get("radius"), "options": asked.get("options") or {},
            "proofs": bool(asked.get("proofs")),
            "has_report": asked["question"] != "margin" and "targets" not in (asked.get("options") or {}),
            "state": "queued", "error": None, "counts": {}, "created_at": NOW, "started_at": None, "finished_at": None,
            "seconds_left": None, "versions": {"plumbline": "0.1.0", "onnxruntime": "1.20"}, "record": {},
        }  # fmt: skip
        self.runs[number] = run
        self.samples[number] = {index: self._waiting(index) for index in range(first, last)}
        self.events[number] = []
        self._count(run)
        self.start(run)
        return run

    def start(self, run: Item) -> None:
        """Let what is open go on, in a task of its own."""
        run["state"] = "running"
        task = asyncio.create_task(self._go_on(run))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def tell(self, run: Item, kind: str, event: Item) -> None:
        """One more event of a run."""
        self.events[run["id"]].append((kind, json.loads(json.dumps(event))))

    def picture(self, index: int, adversary: bool = False) -> np.ndarray:
        """A sample, or what the fake passes off as its adversary."""
        x = np.asarray(self.x[index], np.float64).reshape(8, 8)
        return np.clip(x + 0.12 * np.sin(37.0 * np.arange(64) * (index + 1)).reshape(8, 8), 0, 1) if adversary else x

    async def _go_on(self, run: Item) -> None:
        limit = float(run["options"].get("time_limit") or math.inf)
        self.tell(run, "run", {"state": run["state"], "counts": run["counts"]})
        for sample in self.samples[run["id"]].values():
            if sample["verdict"] in (None, "unresolved") and run["state"] == "running":
                sample["attempt"] += 1
                await self._close(run, sample, stays_open=sample["index"] % 10 == HARD and limit < 100)
        if run["state"] == "running":
            run["state"], run["finished_at"], run["seconds_left"] = "finished", NOW, None
        self._count(run)
        self.tell(run, "run", {"state": run["state"], "counts": run["counts"], "seconds_left": None})

    async def _close(self, run: Item, sample: Item, stays_open: bool) -> None:
        index, truth = sample["index"], 0.02 + 0.08 * (sample["index"] * 0.618 % 1.0)
        sample |= {"state": "running", "engine": "search", "verdict": None, "why_open": None}
        self._count(run)
        self.tell(run, "sample", sample)
        self.tell(run, "run", {"state": run["state"], "counts": run["counts"], "seconds_left": run["seconds_left"]})
        before = float(sample["lower"])
        for step in range(STEPS if index % 10 != WRONG else 0):
            if run["state"] != "running":
                break
            await asyncio.sleep(self.step_seconds)
            lower = max(before, truth * (1 - 0.7 ** (step + 1)) if stays_open or step < STEPS - 1 else truth)
            upper = math.inf if step == 0 else truth * (1 + 0.9 * 0.65**step) if step < STEPS - 1 else truth
            if stays_open:
                lower, upper = min(lower, 0.8 * truth), max(upper, 1.1 * truth)
            sample |= {
                "lower": lower, "upper": "inf" if math.isinf(upper) else upper, "nodes": 2**step, "engine": "search",
                "open_phases": 40 - 2 * step, "seconds": round(sample["seconds"] + 0.07, 3),
                "has_adversary": step > 0, "target": None if step == 0 else (sample["label"] + 3) % 10,
                "found_by": None if step == 0 else "shrinking-pgd",
            }  # fmt: skip
            sample["history"].append([sample["seconds"], lower, sample["upper"]])
            run["seconds_left"] = 1.0 * run["counts"]["open"]
            self.tell(run, "bracket", {
                "index": index, "lower": lower, "upper": sample["upper"], "nodes": sample["nodes"], "engine": "search",
                "technique": "slope-ascent", "seconds": sample["seconds"], "seconds_left": run["seconds_left"],
            })  # fmt: skip
        self._answer(run, sample, stays_open)
        self._count(run)
        self.tell(run, "sample", sample)
        self.tell(run, "run", {"state": run["state"], "counts": run["counts"], "seconds_left": run["seconds_left"]})

    def _answer(self, run: Item, sample: Item, stays_open: bool) -> None:
        sample["state"] = "done"
        if sample["index"] % 10 == WRONG:
            sample |= {"verdict": "misclassified", "lower": 0.0, "upper": 0.0, "predicted": (sample["label"] + 1) % 10}
        elif stays_open or run["state"] != "running":
            sample["verdict"] = "unresolved"
            sample["why_open"] = (
                "12 phases are open; the lower side last rose by 0.4 % in ten seconds. More time helps."
            )
        elif run["question"] == "verify":
            sample["verdict"] = "certified" if sample["lower"] > run["radius"] else "falsified"
        else:
            sample["verdict"] = "exact"
        sample["has_proof"] = run["proofs"] and sample["verdict"] in ("exact", "certified", "falsified")
        sample["basis"] = "rigorous"

    def _waiting(self, index: int) -> Item:
        return {
            "index": index, "label": int(self.y[index]), "predicted": int(self.y[index]), "state": "waiting",
            "verdict": None, "lower": 0.0, "upper": "inf", "basis": None, "target": None, "found_by": None,
            "engine": None, "nodes": 0, "open_phases": None, "seconds": 0.0, "attempt": 0, "why_open": None,
            "has_adversary": False, "has_proof": False, "history": [],
        }  # fmt: skip

    def _count(self, run: Item) -> None:
        rows = list(self.samples[run["id"]].values())
        verdicts = ("exact", "certified", "falsified", "unresolved", "misclassified")
        run["counts"] = {
            "total": len(rows), "done": sum(row["state"] == "done" for row in rows),
            "open": sum(row["state"] != "done" or row["verdict"] == "unresolved" for row in rows), "empty": 0,
            "running": sum(row["state"] == "running" for row in rows), "failed": 0,
            **{name: sum(row["verdict"] == name for row in rows) for name in verdicts},
        }  # fmt: skip


def application(service: FakeService) -> FastAPI:
    """The interface and, as the service has them, the pages."""
    app = FastAPI()
    app.state.service = service
    app.include_router(interface)
    app.include_router(pages)

    @app.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> JSONResponse:
        told = {"title": "Refused", "status": error.status_code, "detail": error.detail}
        return JSONResponse(told, error.status_code, media_type="application/problem+json")

    @app.middleware("http")
    async def access(request: Request, answered: Any) -> Response:
        free = request.url.path.startswith(("/static", "/view", "/session", "/sign-in")) or request.url.path == "/"
        given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.cookies.get("session")
        if service.token and not free and given != service.token:
            return JSONResponse({"title": "Who asks?", "detail": "A token is needed; sign in with yours."}, 401)
        if request.method not in ("GET", "HEAD") and not free and request.headers.get("x-plumbline") != "1":
            return JSONResponse({"title": "Refused", "detail": "The header X-Plumbline: 1 is missing."}, 403)
        found: Response = await answered(request)
        return found

    return app


interface = APIRouter()


def _service(request: Request) -> FakeService:
    found: FakeService = request.app.state.service
    return found


def _found(held: dict[Any, Item], key: Any) -> Item:
    if key not in held:
        raise HTTPException(404, f"There is no {key!r}; see the list.")
    return held[key]


def _listing(items: list[Item], limit: int, cursor: str | None) -> Item:
    start = int(cursor or 0)
    end = start + min(limit, 200)
    return {"items": items[start:end], "next": str(end) if end < len(items) else None, "total": len(items)}


@interface.post("/session")
async def session(request: Request, token: Annotated[str, Form()]) -> Response:
    """A cookie for the token."""
    if token != _service(request).token:
        raise HTTPException(401, "No such token.")
    answer = Response(status_code=204)
    answer.set_cookie("session", token, httponly=True, samesite="strict")
    return answer


@interface.post("/models", status_code=201)
async def post_model(request: Request, files: list[UploadFile]) -> Item:
    """One model."""
    name, content = files[0].filename or "", await files[0].read()
    if not name.endswith(".onnx"):
        raise HTTPException(415, f"{name} is no ONNX file; send one that ends in .onnx")
    try:
        return _service(request).add_model(name, content)
    except Exception:
        raise HTTPException(422, f"{name} cannot be read as an ONNX model; export it again") from None


@interface.get("/models")
async def models(request: Request, limit: int = 50, cursor: str | None = None) -> Item:
    """All of them."""
    return _listing(list(_service(request).models.values()), limit, cursor)


@interface.get("/models/{model}")
async def model(request: Request, model: str) -> Item:
    """One."""
    return _found(_service(request).models, model)


@interface.get("/models/{model}/file")
async def model_file(request: Request, model: str) -> Response:
    """Its bytes."""
    found = _found(_service(request).models, model)
    name = f"{found['id']}.onnx"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response((_service(request).folder / name).read_bytes(), headers=headers)


@interface.post("/data", status_code=201)
async def post_data(request: Request, files: list[UploadFile]) -> Item:
    """A data set: whatever it is, the digits."""
    service = _service(request)
    name = files[0].filename or "data"
    shape = [2] if name.endswith(".npy") else [8, 8]
    service.data[name] = {**service.data["digits"], "id": name, "name": name, "builtin": False, "shape": shape}
    return service.data[name]


@interface.get("/data")
async def data(request: Request, limit: int = 50, cursor: str | None = None) -> Item:
    """All of them."""
    return _listing(list(_service(request).data.values()), limit, cursor)


@interface.get("/data/{data}")
async def data_set(request: Request, data: str) -> Item:
    """One."""
    return _found(_service(request).data, data)


@interface.get("/data/{data}/samples/{index}.png")
async def data_picture(request: Request, data: str, index: int) -> Response:
    """A sample."""
    return _png(_service(request).picture(index))


@interface.post("/runs", status_code=201)
async def post_run(request: Request, idempotency_key: Annotated[str, Header()]) -> Item:
    """A question."""
    asked = await request.json()
    if asked["question"] == "verify" and not asked.get("radius"):
        raise HTTPException(422, "verify needs a radius; give one above 0")
    return _service(request).ask(asked)


@interface.get("/runs")
async def runs(
    request: Request, state: str | None = None, model: str | None = None, limit: int = 50, cursor: str | None = None
) -> Item:
    """All of them, the newest first."""
    held = [run for run in reversed(_service(request).runs.values())
            if state in (None, run["state"]) and model in (None, run["model"]["id"])]  # fmt: skip
    return _listing(held, limit, cursor)


@interface.get("/comparisons/{comparison}")
async def comparison(request: Request, comparison: str) -> Item:
    """The runs that its name consists of, as if they had been asked for together."""
    held = [_found(_service(request).runs, name) for name in comparison.split("-")]
    runs = [{**run, "question": "compare", "comparison": comparison} for run in held]
    title, state = held[0]["title"] or f"{len(held)} networks", held[0]["state"]
    return {"id": comparison, "title": title, "state": state, "runs": runs, "created_at": NOW}


@interface.get("/runs/{run}")
async def run(request: Request, run: str) -> Item:
    """One."""
    return _found(_service(request).runs, run)


@interface.delete("/runs/{run}", status_code=204)
async def delete_run(request: Request, run: str) -> None:
    """No longer one."""
    _service(request).runs.pop(run, None)


@interface.get("/runs/{run}/samples")
async def samples(
    request: Request, run: str, verdict: str | None = None, sort: str = "index", order: str = "asc",
    limit: int = 50, cursor: str | None = None,
) -> Item:  # fmt: skip
    """Its samples."""
    _found(_service(request).runs, run)
    keys: dict[str, Any] = {
        "gap": lambda row: float(row["upper"]) - float(row["lower"]),
        "upper": lambda row: float(row["upper"]),
    }
    held = [row for row in _service(request).samples[run].values() if verdict in (None, row["verdict"])]
    held.sort(key=keys.get(sort, lambda row: (row[sort] is None, row[sort] or 0)), reverse=order == "desc")
    return _listing(held, limit, cursor)


@interface.get("/runs/{run}/samples/{index}")
async def sample(request: Request, run: str, index: int) -> Item:
    """One of them."""
    _found(_service(request).runs, run)
    return _found(_service(request).samples[run], index)


@interface.get("/runs/{run}/samples/{index}/{which}.png")
async def sample_picture(request: Request, run: str, index: int, which: str) -> Response:
    """Original, adversary or difference."""
    service = _service(request)
    change = service.picture(index, adversary=True) - service.picture(index)
    if which == "difference":
        return _png(0.5 + 0.5 * change / max(1e-9, float(np.abs(change).max())))
    return _png(service.picture(index, adversary=which == "adversary"))


@interface.get("/runs/{run}/samples/{index}/adversary.npz")
async def adversary(request: Request, run: str, index: int) -> Response:
    """Its numbers."""
    out = io.BytesIO()
    np.savez(out, adversary=_service(request).picture(index, adversary=True))
    return Response(out.getvalue())


@interface.get("/runs/{run}/samples/{index}/proof")
async def proof(request: Request, run: str, index: int) -> Response:
    """Not one."""
    return Response(b"proof")


@interface.get("/runs/{run}/events")
async def events(request: Request, run: str, last_event_id: Annotated[int | None, Header()] = None) -> Response:
    """Events from here on, or from after the last one seen."""
    service = _service(request)
    held = service.events[_found(service.runs, run)["id"]]

    async def sent() -> AsyncIterator[str]:
        seen = len(held) if last_event_id is None else last_event_id + 1
        yield "retry: 50\n\n"
        last = math.inf if service.events_at_once is None else seen + service.events_at_once
        while seen < last and not await request.is_disconnected():
            for number in range(seen, len(held)):
                kind, event = held[number]
                yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(event)}\n\n"
            seen = len(held)
            await asyncio.sleep(0.02)

    return StreamingResponse(sent(), media_type="text/event-stream")


@interface.post("/runs/{run}/cancel")
async def cancel(request: Request, run: str) -> Item:
    """Stop it."""
    found = _found(_service(request).runs, run)
    found["state"] = "cancelled"
    return found


@interface.post("/runs/{run}/resume")
async def resume(request: Request, run: str) -> Item:
    """Go on with what is open."""
    service, asked = _service(request), await request.json()
    found = _found(service.runs, run)
    found["options"] = {**found["options"], "time_limit": asked["time_limit"]}
    service.start(found)
    return found


@interface.get("/runs/{run}/curve")
async def curve(request: Request, run: str) -> Item:
    """Shares over the radius."""
    _found(_service(request).runs, run)
    rows = list(_service(request).samples[run].values())
    ends = {float(row[side]) for row in rows for side in ("lower", "upper")} | {0.0}
    radii = sorted({float(f"{end:.4g}") for end in ends if math.isfinite(end)})
    return {
        "radii": radii,
        "certified": [sum(float(row["lower"]) > radius for row in rows) / len(rows) for radius in radii],
        "not_falsified": [sum(float(row["upper"]) > radius for row in rows) / len(rows) for radius in radii],
    }


@interface.get("/runs/{run}/report")
async def report(request: Request, run: str) -> Response:
    """A page."""
    return HTMLResponse(f"<h1>{_found(_service(request).runs, run)['id']}</h1>")


@interface.get("/runs/{run}/export.{ending}")
async def export(request: Request, run: str, ending: str) -> Response:
    """Its records."""
    rows = list(_service(request).samples[run].values())
    out = io.StringIO()
    if ending == "csv":
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return Response(out.getvalue())


@interface.get("/runs/{run}/proofs.zip")
async def proofs(request: Request, run: str) -> Response:
    """An archive, empty."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w"):
        pass
    return Response(out.getvalue())


def _png(values: np.ndarray) -> Response:
    out = io.BytesIO()
    Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)).save(out, "PNG")
    return Response(out.getvalue(), media_type="image/png")


def _facts(content: bytes) -> Item:
    file = onnx.load_model_from_string(content)
    sizes = {one.name: numpy_helper.to_array(one) for one in file.graph.initializer}
    shape = [side.dim_value for side in file.graph.input[0].type.tensor_type.shape.dim][1:]
    size, layers = math.prod(shape), []
    for node in file.graph.node:
        for name in node.input:
            if name in sizes and sizes[name].ndim == 1:
                size = int(sizes[name].size)
        layers.append({"name": node.name, "kind": node.op_type.lower().replace("gemm", "dense"), "size": size})
    relus = sum(layer["size"] for layer in layers if layer["kind"] == "relu")
    return {
        "inputs": math.prod(shape), "input_shape": shape, "classes": size, "neurons": relus, "layers": layers,
        "operators": sorted({node.op_type for node in file.graph.node}),
        "parameters": int(sum(one.size for one in sizes.values())),
    }  # fmt: skip


def main() -> None:
    """Serve it, to look at the pages: `python -m tests.verifier.service.pages.fake_service`."""
    import tempfile

    import uvicorn

    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        service = FakeService(Path(folder), step_seconds=0.25)
        net = Path(__file__).parents[4] / "trainers" / "nets" / "digits-64-32-32-10.onnx"
        service.add_model(net.name, net.read_bytes())
        uvicorn.run(application(service), port=8765, log_level="warning")


if __name__ == "__main__":
    main()
