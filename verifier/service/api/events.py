"""What happens to a run, as server-sent events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from verifier.service.api.models import Key
from verifier.service.api.parts import Owner, ServiceHere
from verifier.service.api.problems import responses
from verifier.service.feed import ENDED

router = APIRouter(tags=["runs"])


@router.get(
    "/runs/{key}/events",
    response_class=StreamingResponse,
    responses=responses()
    | {
        200: {"description": "Events: bracket, sample, run", "content": {"text/event-stream": {}}},
        204: {"description": "The run has ended, and everything was told"},
    },
)
def events(
    service: ServiceHere,
    owner: Owner,
    key: Key,
    last_event_id: Annotated[str | None, Header(max_length=20, pattern="^[0-9]{1,18}$")] = None,
    after: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> Response:
    """Brackets as they close, samples as they begin and end, and the run's state; from `Last-Event-ID` on."""
    run = service.store.run(owner, key)
    since = int(last_event_id) if last_event_id is not None else after
    if since is not None and run.state in ENDED and not service.store.events(since, 1, key):
        return Response(status_code=204)  # what tells a browser not to come back
    return StreamingResponse(
        service.feed.listen(key, since), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )
