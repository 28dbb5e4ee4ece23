"""Files that options name, over HTTP: masks, scales, constraints, grids."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Response, UploadFile

from encoders.errors import DataError
from verifier.service.api.models import Expected, expect, kept
from verifier.service.api.parts import PAGE, Cursor, Digest, Limit, Owner, ServiceHere, saved
from verifier.service.api.problems import responses
from verifier.service.api.schemas import ArrayItem, ListOf, listed
from verifier.service.inspection import isolated, read_array
from verifier.service.store.records import StoredArray, fresh_id

router = APIRouter(tags=["models and data"])
Key = Annotated[str, Path(max_length=40)]
KINDS = (".npy", ".npz", ".png")


@router.post("/arrays", status_code=201, responses=responses())
def add_array(service: ServiceHere, owner: Owner, files: list[UploadFile], sha256: Expected = None) -> ArrayItem:
    """Upload a file that options name: an .npy or .npz, and of a mask also a .png."""
    with service.incoming() as folder:
        paths = saved(files, folder)
        if len(paths) != 1 or paths[0].suffix.lower() not in KINDS:
            raise DataError("files: give one .npy, .npz or .png")
        isolated(service.settings.limits, folder, read_array, paths[0], service.settings.limits)
        digest = kept(service, paths[0])
        expect(sha256, digest)
    array = StoredArray(fresh_id(), owner, paths[0].name, digest, time.time())
    service.store.add_array(array)
    return ArrayItem.of(array)


@router.get("/arrays", responses=responses())
def arrays(
    service: ServiceHere, owner: Owner, limit: Limit = PAGE, cursor: Cursor = None, sha256: Digest = None
) -> ListOf[ArrayItem]:
    """The arrays, the latest first; with `sha256`, those of that digest."""
    page = service.store.arrays(owner, limit, cursor, sha256)
    return ListOf[ArrayItem].model_validate(listed(page, [ArrayItem.of(one) for one in page.items]))


@router.get("/arrays/{key}", responses=responses())
def array(service: ServiceHere, owner: Owner, key: Key) -> ArrayItem:
    """One array."""
    return ArrayItem.of(service.store.array(owner, key))


@router.delete("/arrays/{key}", status_code=204, responses=responses(409))
def drop_array(service: ServiceHere, owner: Owner, key: Key) -> Response:
    """Forget an array that no run's options name."""
    held = service.store.array(owner, key)
    service.store.drop_array(owner, key)
    service.forget(held.sha256)
    return Response(status_code=204)
