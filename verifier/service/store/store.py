"""The operations on the database. It is the truth: whoever is killed, whatever it says is true afterwards."""

from __future__ import annotations

from sqlalchemy import func, select, text

from verifier.service.store.catalogue import Catalogue
from verifier.service.store.comparisons import Comparisons
from verifier.service.store.leases import Leases
from verifier.service.store.records import Event
from verifier.service.store.tables import EVENTS, RUNS, SAMPLES, WORKERS


class Store(Catalogue, Comparisons, Leases):
    """All operations, and what has happened."""

    def last_event(self) -> int:
        """The latest event's id."""
        with self._reading() as connection:
            return connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0

    def events(self, after: int, limit: int, run: str | None = None) -> list[Event]:
        """What has happened since an event, to one run or to all."""
        query = select(EVENTS.c.id, EVENTS.c.run_id, EVENTS.c.kind, EVENTS.c.number, EVENTS.c.told)
        query = query.where(EVENTS.c.id > after).order_by(EVENTS.c.id).limit(limit)
        with self._reading() as connection:
            rows = connection.execute(query if run is None else query.where(EVENTS.c.run_id == run))
            return [Event(*row) for row in rows]

    def ping(self) -> None:
        """Raise where the database does not answer."""
        with self._reading() as connection:
            connection.execute(text("SELECT 1"))

    def tally(self) -> dict[str, dict[str, int]]:
        """How many runs and samples there are in each state, and workers."""
        with self._reading() as connection:
            runs = connection.execute(select(RUNS.c.state, func.count()).group_by(RUNS.c.state))
            held = {"runs": {row[0]: row[1] for row in runs}}
            samples = connection.execute(select(SAMPLES.c.state, func.count()).group_by(SAMPLES.c.state))
            held["samples"] = {row[0]: row[1] for row in samples}
            workers = connection.execute(select(func.count()).select_from(WORKERS)).scalar_one()
            return held | {"workers": {"alive": workers}}
