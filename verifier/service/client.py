"""A service as Python and the command line use it: upload, ask, watch, take what was found.

    service = verifier.connect("http://localhost:8642")
    run = service.ask("net.onnx", "digits", "verify", radius=0.1, samples="0:10")
    for record in run.records(): ...

The run goes on without its client; `service.run(id)` comes back to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import DataError, OptionError, PlumblineError, SoundnessError

if TYPE_CHECKING:
    import httpx

TOKEN = "PLUMBLINE_TOKEN"  # the environment variable that holds it: a command line is seen by everyone
PATIENCE = 30.0  # seconds for an answer that is no stream
QUIET = 60.0  # seconds after which a line of events that says nothing is taken for broken
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before a server that does not answer is asked again
ENDED = ("finished", "cancelled", "failed")
BUILT_IN = ("digits",)
ARRAYS = ("mask", "scale", "constraints", "grid")  # options that may be a file


class ServerError(PlumblineError, RuntimeError):
    """A server cannot be reached, or refuses: its own sentence."""


def connect(url: str, token: str | None = None) -> Client:
    """A service at a URL; the token, where one is needed, is given or in PLUMBLINE_TOKEN."""
    try:
        import httpx
    except ImportError:
        raise OptionError("a server needs httpx, which is not installed; pip install 'plumbline[service]'") from None
    if not url.startswith(("http://", "https://")):
        raise OptionError(f"server {url!r}: give a URL such as http://localhost:8642")
    token = token or os.environ.get(TOKEN)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = httpx.Timeout(PATIENCE, read=300.0)
    return Client(httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout))


@dataclass(frozen=True, eq=False)
class Client:
    """A connection to a service."""

    http: httpx.Client

    def ask(
        self,
        model: str | Path,
        data: str | Path,
        question: str,
        *,
        radius: float | None = None,
        samples: str | None = None,
        output: str | None = None,
        threshold: float | None = None,
        proofs: bool = False,
        title: str = "",
        **options: Any,
    ) -> RemoteRun:
        """A new run; what the service has not got is uploaded.

        `options` are the fields of `Options`, `mask` and `perturbation`; a mask, a scale, constraints and a grid of
        each input are paths of files, as the command line takes them.
        """
        body = {
            "model": self.upload_model(model, output, threshold), "data": self.upload_data(data), "samples": samples,
            "question": question, "radius": radius, "options": self.with_arrays(options), "proofs": proofs,
            "title": title,
        }  # fmt: skip
        # Under one key, so that a request whose answer was lost is sent again and asks once.
        found = self._json("POST", "/runs", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        return RemoteRun(self, str(found["id"]))

    def compare(
        self,
        models: Sequence[str | Path],
        data: str | Path,
        *,
        samples: str | None = None,
        output: str | None = None,
        threshold: float | None = None,
        title: str = "",
        **options: Any,
    ) -> RemoteComparison:
        """Several models on the same samples; `options` are those of `plumbline compare`, in one norm."""
        body = {
            "models": [self.upload_model(one, output, threshold) for one in models], "data": self.upload_data(data),
            "samples": samples, "options": options, "title": title,
        }  # fmt: skip
        found = self._json("POST", "/comparisons", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        return RemoteComparison(self, str(found["id"]))

    def comparison(self, key: str) -> RemoteComparison:
        """A comparison that was asked for before."""
        return RemoteComparison(self, str(self._json("GET", f"/comparisons/{key}")["id"]))

    def run(self, key: str) -> RemoteRun:
        """A run that was asked for before."""
        return RemoteRun(self, str(self._json("GET", f"/runs/{key}")["id"]))

    def upload_model(self, path: str | Path, output: str | None = None, threshold: float | None = None) -> str:
        """The id of a model file, uploaded with its external data unless the service has it under its name."""
        from encoders.onnx.model_file import read_model_file

        file = read_model_file(Path(path))
        known = self._json("GET", "/models", params={"sha256": file.digest, "limit": 1000})["items"]
        wanted = file.path.name, output, threshold
        for one in known:
            if (one["name"], one["facts"].get("output"), one["facts"].get("threshold")) == wanted:
                return str(one["id"])
        names = [file.path.name, *(name for name, _ in file.files if name)]
        files = [("files", (name, (file.path.parent / name).read_bytes())) for name in names]
        chosen = {"output": output, "threshold": threshold, "sha256": file.digest}
        form = {name: str(value) for name, value in chosen.items() if value is not None}
        return str(self._json("POST", "/models", files=files, data=form)["id"])

    def upload_data(self, source: str | Path) -> str:
        """The id of an .npz or .npy file, uploaded unless the service has it; `digits` is built in."""
        if str(source) in BUILT_IN:
            return str(source)
        path = Path(source)
        if path.suffix.lower() not in (".npz", ".npy"):
            raise DataError(f"{source}: a server takes an .npz, an .npy, or {', '.join(BUILT_IN)}")
        if not path.is_file():
            raise DataError(f"{source}: no such file")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        known = self._json("GET", "/data", params={"sha256": digest})["items"]
        if known:
            return str(known[0]["id"])
        answer = self._json("POST", "/data", files=[("files", (path.name, content))], data={"sha256": digest})
        return str(answer["id"])

    def with_arrays(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with the ids of uploaded files in place of their paths."""
        files = {name: options[name] for name in ARRAYS if isinstance(options.get(name), str | Path)}
        return {**options, **{name: self.upload_array(path) for name, path in files.items()}}

    def upload_array(self, source: str | Path) -> str:
        """The id of a file that an option names, uploaded unless the service has it under its name."""
        path = Path(source)
        if not path.is_file():
            raise DataError(f"{source}: no such file")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        for one in self._json("GET", "/arrays", params={"sha256": digest, "limit": 1000})["items"]:
            if one["name"] == path.name:
                return str(one["id"])
        answer = self._json("POST", "/arrays", files=[("files", (path.name, content))], data={"sha256": digest})
        return str(answer["id"])

    def content(self, path: str) -> bytes:
        """A file of the service."""
        with self._asked("GET", path) as answer:
            return bytes(answer.read())

    def _json(self, method: str, path: str, **more: Any) -> Any:
        with self._asked(method, path, **more) as answer:
            answer.read()
            return answer.json()

    @contextmanager
    def _asked(self, method: str, path: str, **more: Any) -> Iterator[httpx.Response]:
        """An answer, or the server's own sentence as an error; a server that restarts is asked again."""
        import httpx

        for pause in (*PAUSES, None):
            try:
                with self.http.stream(method, path, **more) as answer:
                    if answer.status_code < 400:
                        yield answer
                        return
                    answer.read()
                    if answer.status_code not in (429, 503) or pause is None:
                        raise _refusal(answer)
            except httpx.ConnectError as error:
                if pause is None:
                    raise ServerError(
                        f"{self.http.base_url}: no server answers there ({error}); is it running?"
                    ) from None
            except httpx.TransportError as error:
                if pause is None or method != "GET":
                    raise ServerError(f"{self.http.base_url}: the line broke ({error}); try again") from None
            time.sleep(pause)


def _refusal(answer: httpx.Response) -> PlumblineError:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answers {answer.status_code}; is it a plumbline server?"
    return OptionError(detail) if answer.status_code == 422 else ServerError(detail)


@dataclass(frozen=True, eq=False)
class RemoteRun:
    """A run of a service; it goes on whether anybody looks or not."""

    client: Client
    key: str

    @property
    def url(self) -> str:
        """Where it is; with it as `--server`, the same command line comes back to the run."""
        return f"{str(self.client.http.base_url).rstrip('/')}/runs/{self.key}"

    def state(self) -> dict[str, Any]:
        """The run as the service tells it now."""
        found: dict[str, Any] = self.client._json("GET", f"/runs/{self.key}")
        return found

    def cancel(self) -> None:
        """Stop it; what is known is kept."""
        self.client._json("POST", f"/runs/{self.key}/cancel")

    def resume(self, time_limit: float | None = None) -> None:
        """Go on with what is open, with so many seconds for each sample."""
        self.client._json("POST", f"/runs/{self.key}/resume", json={"time_limit": time_limit})

    def samples(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """All samples, page by page."""
        cursor = None
        while True:
            asked = {"limit": 1000, **filters} | ({} if cursor is None else {"cursor": cursor})
            page = self.client._json("GET", f"/runs/{self.key}/samples", params=asked)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def record(self, index: int) -> dict[str, Any]:
        """A sample's line of the command line's `--json`."""
        found: dict[str, Any] = self.client._json("GET", f"/runs/{self.key}/samples/{index}/record")
        return found

    def adversary(self, index: int) -> bytes:
        """The .npz of a sample's adversary."""
        return self.client.content(f"/runs/{self.key}/samples/{index}/adversary.npz")

    def proof(self, index: int) -> bytes:
        """A sample's proof."""
        return self.client.content(f"/runs/{self.key}/samples/{index}/proof")

    def report(self) -> str:
        """The page of all that is finished."""
        return self.client.content(f"/runs/{self.key}/report").decode()

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(kind, what is told) as it happens, until the run ends; a line that breaks is taken up where it was."""
        import httpx

        last: str | None = None
        failed = 0
        while True:
            headers = {} if last is None else {"Last-Event-ID": last}
            try:
                with self.client._asked(
                    "GET", f"/runs/{self.key}/events", headers=headers, timeout=httpx.Timeout(PATIENCE, read=QUIET)
                ) as answer:
                    for key, kind, told in _parsed(answer.iter_lines()):
                        last, failed = key, 0
                        yield kind, told
                        if kind == "run" and told["state"] in ENDED:
                            return
                if answer.status_code == 204:
                    yield "run", self.state()
                    return
            except httpx.TransportError:
                failed += 1
            time.sleep(PAUSES[min(failed, len(PAUSES) - 1)])

    def finished(self) -> Iterator[dict[str, Any]]:
        """Each sample once, as it ends: those that have already, then the others."""
        told = set[int]()
        for item in self.samples(state="done"):
            told.add(item["index"])
            yield item
        for kind, item in self.events():
            if kind == "sample" and item["state"] in ("done", "failed") and item["index"] not in told:
                told.add(item["index"])
                yield item
        for item in self.samples():  # those that ended between the list and the first event
            if item["state"] in ("done", "failed") and item["index"] not in told:
                yield item

    def records(self) -> Iterator[dict[str, Any]]:
        """The record of each sample as it finishes; an alarm is raised."""
        for item in self.finished():
            if item["state"] == "done":
                yield self.record(item["index"])
        self.check()

    def check(self) -> None:
        """Raise the alarm that stopped the run, if one did."""
        state = self.state()
        if state["state"] == "failed":
            raise SoundnessError(str(state["error"]).removeprefix("SOUNDNESS ALARM: "))


@dataclass(frozen=True, eq=False)
class RemoteComparison:
    """Several models held against each other by a service: a run for each."""

    client: Client
    key: str

    def state(self) -> dict[str, Any]:
        """The comparison as the service tells it now."""
        found: dict[str, Any] = self.client._json("GET", f"/comparisons/{self.key}")
        return found

    def runs(self) -> tuple[RemoteRun, ...]:
        """Its runs, in the order of the models."""
        return tuple(RemoteRun(self.client, str(one["id"])) for one in self.state()["runs"])

    def wait(self) -> None:
        """Until every run has ended; an alarm is raised."""
        for run in self.runs():
            for _ in run.events():
                pass
            run.check()

    def cancel(self) -> None:
        """Stop all its runs; what is known is kept."""
        self.client._json("POST", f"/comparisons/{self.key}/cancel")

    def resume(self, time_limit: float | None = None) -> None:
        """Go on with what is open in any of its runs, with so many seconds for each sample."""
        self.client._json("POST", f"/comparisons/{self.key}/resume", json={"time_limit": time_limit})

    def page(self) -> str:
        """The page that `plumbline compare` writes, of the samples that every network has."""
        return self.client.content(f"/comparisons/{self.key}/page").decode()


def _parsed(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Server-sent events: (id, kind, data)."""
    held: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            held[name] = value
        elif "data" in held:
            yield held.get("id", ""), held.get("event", ""), json.loads(held["data"])
            held = {}
        else:
            held = {}
