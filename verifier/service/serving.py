"""The server's process: it answers until it is told to stop, and ends within seconds, losing nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn

from encoders.errors import OptionError
from verifier.service.api.app import create_app
from verifier.service.api.models import keep_model
from verifier.service.service import Service
from verifier.service.settings import LOCAL, Settings

GRACE = 3  # seconds that requests in progress have when the server is told to stop
KEEP_ALIVE = 30
AT_ONCE = 1000  # connections


class Server(uvicorn.Server):
    """uvicorn, whose lines of events end when it is told to stop: they would never end by themselves."""

    service: Service

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.service.feed.closing = True
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.service.feed.close)
        super().handle_exit(sig, frame)

    loop: Any = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        import asyncio

        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)


def serve(settings: Settings, example: Path | None = None) -> int:
    """Answer until SIGINT or SIGTERM; an example is a model that whoever looks first finds there."""
    service = Service.of(settings)
    if example is not None and not settings.token_file:
        threading.Thread(target=_load, args=(service, example), daemon=True).start()
    listening = bound_socket(settings)
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    workers = f"{settings.workers} worker{'' if settings.workers == 1 else 's'}"
    workers += "" if settings.cluster is None else f" here and those of {settings.cluster}"
    print(f"plumbline at http://{name}:{port}/ with {workers}; Ctrl-C stops it", flush=True)
    config = uvicorn.Config(
        create_app(service), log_level="warning", timeout_graceful_shutdown=GRACE, timeout_keep_alive=KEEP_ALIVE,
        limit_concurrency=AT_ONCE, server_header=False, access_log=False,
    )  # fmt: skip
    server = Server(config)
    server.service = service
    server.run(sockets=[listening])
    return 0


def _load(service: Service, path: Path) -> None:
    """The example, unless it is there."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not service.store.models(LOCAL, 1, sha256=digest).total:
        with service.incoming() as folder:
            keep_model(service, LOCAL, [Path(shutil.copy(path, folder))], folder)


def bound_socket(settings: Settings) -> socket.socket:
    """The socket to listen on; an address that is taken is one line."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. An answer's body would wait for its head to be acknowledged, 40 ms of every read.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OptionError(f"cannot listen on {settings.host}:{settings.port} ({reason}); give another --port") from None
    listening.set_inheritable(True)
    return listening
