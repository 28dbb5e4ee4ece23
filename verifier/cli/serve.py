"""`plumbline serve`: models, data and questions over HTTP, and a page to ask and watch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from encoders.errors import OptionError

PORT = 8642
EXAMPLE = Path(__file__).parents[2] / "trainers" / "nets" / "digits-64-32-32-10.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline serve`."""
    parser.description = (
        "Serve a page and a REST interface: upload a model, ask, watch the bracket close, keep the proof. All of "
        "it is in the database and the files; a server that is stopped, or killed, goes on where it was."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="A", help="the address (default: 127.0.0.1, this machine)"
    )
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0 for any free one (default: {PORT})")
    parser.add_argument(
        "--data-dir", type=Path, default=Path("out/service"), metavar="DIR",
        help="where the database and files are kept (default: out/service)",
    )  # fmt: skip
    parser.add_argument(
        "--database", metavar="URL", help="postgresql+psycopg://USER@HOST/NAME (default: SQLite in --data-dir)"
    )
    parser.add_argument("--files", metavar="URL", help="a folder or fsspec URL for files (default: in --data-dir)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that answer (default: 1, and none beside --cluster)"
    )
    parser.add_argument(
        "--cluster", metavar="A",
        help="one more on each worker of a Dask cluster: tcp://HOST:PORT of its scheduler, or local:N to try it",
    )  # fmt: skip
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="who may ask; needed for any other address")
    parser.add_argument("--new-token", metavar="NAME", help="add a token to --token-file, print it, and end")
    parser.add_argument("--example", action="store_true", help="begin with the digits net of the package loaded")
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=N", help="change a limit of /limits; may be repeated"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit status."""
    try:
        import alembic
        import fastapi
        import prometheus_client
        import python_multipart
        import sqlalchemy
        import uvicorn
    except ImportError as error:
        raise OptionError(
            f"serve needs {error.name}, which is not installed; pip install 'plumbline[service]'"
        ) from None
    del alembic, fastapi, prometheus_client, python_multipart, sqlalchemy, uvicorn
    if arguments.new_token is not None:
        return _new_token(arguments.token_file, arguments.new_token)
    from verifier.service.serving import serve
    from verifier.service.settings import Limits, Settings

    workers = arguments.workers
    if workers is None:
        workers = 1 if arguments.cluster is None else 0
    settings = Settings(
        data_dir=arguments.data_dir, host=arguments.host, port=arguments.port, database=arguments.database,
        files=arguments.files, workers=workers, cluster=arguments.cluster, token_file=arguments.token_file,
        limits=Limits(**dict(_limit(text) for text in arguments.limit)),
    )  # fmt: skip
    return serve(settings, EXAMPLE if arguments.example else None)


def _new_token(path: Path | None, name: str) -> int:
    from verifier.service.access import new_token

    if path is None:
        raise OptionError("--new-token: say with --token-file where tokens are kept")
    print(new_token(path, name))
    return 0


def _limit(text: str) -> tuple[str, Any]:
    name, _, number = text.partition("=")
    try:
        return name, float(number) if "." in number or "e" in number else int(number)
    except ValueError:
        raise OptionError(f"--limit {text!r}: write NAME=NUMBER, as samples=1000") from None
