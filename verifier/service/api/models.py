"""Models and data sets over HTTP."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Form, Response, UploadFile
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from encoders.errors import DataError, ModelError
from verifier.service.api.parts import (
    PAGE,
    Cursor,
    Digest,
    Limit,
    Owner,
    ServiceHere,
    content,
    saved,
)
from verifier.service.api.problems import responses
from verifier.service.api.schemas import DataItem, ListOf, ModelItem, Text, listed
from verifier.service.errors import NotThereError, ServiceError
from verifier.service.files import CHUNK
from verifier.service.inspection import ReadData, ReadModel, isolated, read_data, read_model
from verifier.service.service import DIGITS, Service, built_in
from verifier.service.store.records import StoredData, StoredModel, fresh_id

router = APIRouter(tags=["models and data"])
Key = Annotated[str, InPath(max_length=40)]
ARRAYS, PICTURES = (".npz", ".npy"), ".png"
Expected = Annotated[str | None, Form(pattern="^[0-9a-f]{64}$")]


@router.post("/models", status_code=201, responses=responses())
def add_model(
    service: ServiceHere,
    owner: Owner,
    files: list[UploadFile],
    output: Annotated[Text | None, Form()] = None,
    threshold: Annotated[float | None, Form(allow_inf_nan=False)] = None,
    sha256: Expected = None,
) -> ModelItem:
    """Upload an ONNX file, with the files that hold its external data.

    `output` names the scores where a model has several outputs, `threshold` makes one output two classes. `sha256` is
    the digest that the upload should have, if it is known.
    """
    with service.incoming() as folder:
        return ModelItem.of(keep_model(service, owner, saved(files, folder), folder, output, threshold, sha256))


def keep_model(
    service: Service,
    owner: str,
    paths: Sequence[Path],
    folder: Path,
    output: str | None = None,
    threshold: float | None = None,
    sha256: str | None = None,
) -> StoredModel:
    """Read a model's files, keep them, and say whose they are."""
    main = [path for path in paths if path.suffix.lower() == ".onnx"]
    if len(main) != 1:
        ends = f"{len(main)} of them end" if main else "none of them ends"
        raise ModelError(f"files: {ends} in .onnx; give one, and beside it its external data")
    limits = service.settings.limits
    found: ReadModel = isolated(limits, folder, read_model, main[0], output, threshold, limits)
    expect(sha256, found.sha256)
    unused = sorted({path.name for path in paths} - {main[0].name, *found.external})
    if unused:
        raise ModelError(f"{main[0].name}: it does not name {', '.join(unused)}; leave out what is not its data")
    digests = {path.name: kept(service, path) for path in (main[0], *(p for p in paths if p != main[0]))}
    model = StoredModel(fresh_id(), owner, main[0].name, found.sha256, digests, found.facts, time.time())
    service.store.add_model(model)
    return model


@router.get("/models", responses=responses())
def models(
    service: ServiceHere, owner: Owner, limit: Limit = PAGE, cursor: Cursor = None, sha256: Digest = None
) -> ListOf[ModelItem]:
    """The models, the latest first; with `sha256`, those of that digest."""
    page = service.store.models(owner, limit, cursor, sha256)
    return ListOf[ModelItem].model_validate(listed(page, [ModelItem.of(one) for one in page.items]))


@router.get("/models/{key}", responses=responses())
def model(service: ServiceHere, owner: Owner, key: Key) -> ModelItem:
    """One model."""
    return ModelItem.of(service.store.model(owner, key))


@router.get(
    "/models/{key}/file",
    response_class=StreamingResponse,
    responses=responses() | content("application/octet-stream", "The ONNX file"),
)
def model_file(service: ServiceHere, owner: Owner, key: Key) -> StreamingResponse:
    """The ONNX file itself."""
    held = service.store.model(owner, key)
    return streamed(service.files.open(held.files[held.name]), "application/octet-stream", f"{key}.onnx")


@router.delete("/models/{key}", status_code=204, responses=responses(409))
def drop_model(service: ServiceHere, owner: Owner, key: Key) -> Response:
    """Forget a model that no run is about."""
    held = service.store.model(owner, key)
    service.store.drop_model(owner, key)
    for digest in held.files.values():
        service.forget(digest)
    return Response(status_code=204)


@router.post("/data", status_code=201, responses=responses())
def add_data(service: ServiceHere, owner: Owner, files: list[UploadFile], sha256: Expected = None) -> DataItem:
    """Upload an .npz with x and, if known, y; an .npy of inputs; or pictures of one size, ordered by name."""
    with service.incoming() as folder:
        paths = saved(files, folder)
        kinds = {path.suffix.lower() for path in paths}
        if not (kinds == {PICTURES} or (len(paths) == 1 and kinds <= set(ARRAYS))):
            raise DataError("files: give one .npz, one .npy, or pictures that all end in .png")
        read: ReadData = isolated(service.settings.limits, folder, read_data, paths, service.settings.limits)
        digest = kept(service, read.path)
        expect(sha256, digest)
    name = paths[0].name if len(paths) == 1 else f"{len(paths)} pictures"
    kind = read.path.suffix.lower().removeprefix(".")
    data = StoredData(fresh_id(), owner, name, digest, kind, read.count, list(read.shape), read.labelled, time.time())
    service.store.add_data(data)
    return DataItem.of(data)


@router.get("/data", responses=responses())
def data_sets(
    service: ServiceHere, owner: Owner, limit: Limit = PAGE, cursor: Cursor = None, sha256: Digest = None
) -> ListOf[DataItem]:
    """The data sets, the latest first, behind those that are built in."""
    page = service.store.data_sets(owner, limit, cursor, sha256)
    own = [DataItem.of(one) for one in page.items]
    ours = [DataItem.of(built_in(owner))] if cursor is None and sha256 is None else []
    whole = ListOf[DataItem].model_validate(listed(page, [*ours, *own]))
    return whole.model_copy(update={"total": page.total + (sha256 is None)})


@router.get("/data/{key}", responses=responses())
def data_set(service: ServiceHere, owner: Owner, key: Key) -> DataItem:
    """One data set."""
    return DataItem.of(service.data(owner, key))


@router.delete("/data/{key}", status_code=204, responses=responses(409))
def drop_data(service: ServiceHere, owner: Owner, key: Key) -> Response:
    """Forget a data set that no run is about."""
    held = service.store.data(owner, key)
    service.store.drop_data(owner, key)
    service.forget(held.sha256)
    return Response(status_code=204)


@router.get(
    "/data/{key}/samples/{index}.png",
    response_class=Response,
    responses=responses() | content("image/png", "The sample as a picture"),
)
def sample_picture(
    service: ServiceHere, owner: Owner, key: Key, index: Annotated[int, InPath(ge=0, le=2**31)]
) -> Response:
    """A sample as a picture, where it looks like one."""
    held = service.data(owner, key)
    if index >= held.count:
        raise NotThereError(f"sample {index}: the data holds {held.count} samples, 0 to {held.count - 1}")
    return picture_of(original(service, held)[index])


def original(service: Service, data: StoredData) -> Any:
    """The samples of a data set as they are in it."""
    if data.id == DIGITS:
        return _digits()
    return _arrays(Path(service.data_source(data)))


@lru_cache(maxsize=1)
def _digits() -> Any:
    from trainers.datasets import digits

    return digits("test").x


@lru_cache(maxsize=4)
def _arrays(path: Path) -> Any:
    """Pictures as they are, or floats; it was read before, in a process of its own."""
    import numpy as np

    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False, mmap_mode="r")
    with np.load(path, allow_pickle=False) as archive:
        return archive["x"]


def picture_of(values: Any, signed: bool = False) -> Response:
    """An array as a picture, a change in it as darker and lighter than grey; refused where it looks like none."""
    from verifier.service.pictures import png

    found = png(values, signed)
    if found is None:
        raise NotThereError(f"an input of shape {tuple(values.shape)} is no picture")
    return Response(found, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def streamed(file: BinaryIO, media_type: str, name: str) -> StreamingResponse:
    """A file piece by piece; its name is ours, and nobody's who uploaded it."""

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(CHUNK):
                yield piece

    return StreamingResponse(
        pieces(), media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def kept(service: Service, path: Path) -> str:
    """Keep a file's content; returns its digest."""
    with open(path, "rb") as file:
        return service.files.put(file)


def expect(expected: str | None, found: str) -> None:
    """Refuse what came otherwise than it was sent."""
    if expected is not None and expected != found:
        raise ServiceError(f"sha256: what came has {found}; send it again")


def bytes_of(file: BinaryIO) -> io.BytesIO:
    """A file as a whole."""
    with file:
        return io.BytesIO(file.read())
