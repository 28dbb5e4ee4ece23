"""The operations on the database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.verifier.service.asking import model, run
from verifier.proofs.why_none import MISCLASSIFIED, OUT_OF_TIME
from verifier.service.errors import ConflictError, NotThereError
from verifier.service.store.leases import POINTS, thinned
from verifier.service.store.records import Claimed, Finding, SampleState, StoredRun, StoredSample
from verifier.service.store.store import Store
from verifier.service.store.tables import METADATA


def answer(lower: float = 0.5, upper: float = 0.5, verdict: str = "exact") -> Finding:
    record = {"verdict": verdict, "lower": lower, "upper": upper if math.isfinite(upper) else str(upper)}
    return Finding(lower, upper, 1.0, basis="rigorous", adversary="a" * 64, record=record)


def claimed(store: Store, of: str | None = None, worker: str = "w") -> Claimed:
    """A sample that a worker takes."""
    found = store.claim(worker, of)
    assert found is not None
    return found


def with_run(store: Store, count: int = 3, proofs: bool = False, **more: Any) -> StoredRun:
    """A run of samples that wait."""
    made = replace(run(**more), total=count, proofs=proofs)
    if not store.models("local", 1).items:
        store.add_model(model())
    store.add_run(made, None, "q", [(k, k % 10) for k in range(count)])
    return made


@pytest.mark.slow
def test_the_migrations_come_to_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, METADATA) == []


@pytest.mark.slow
def test_a_run_from_its_first_sample_to_its_last(store: Store) -> None:
    with_run(store)
    store.register("w")
    assert [claimed(store).number, claimed(store, "r").number] == [0, 1]
    assert store.run("local", "r").state == "running"
    store.beat("w", {("r", 0): Finding(0.1, 0.9, 0.2)})
    held, details = store.sample("r", 0)
    assert (held.lower, held.upper, held.gap) == (0.1, 0.9, 0.8)
    assert details.history == [[0.2, 0.1, 0.9]]
    for number in (0, 1):
        assert store.finish("w", "r", number, answer())
    assert claimed(store).number == 2
    assert store.claim("w") is store.claim("w", "r") is None
    store.finish("w", "r", 2, answer(0.1, math.inf, "unresolved"))
    assert store.run("local", "r").state == "finished"
    counts = store.counts(["r"])["r"]
    assert (counts.done, counts.open, counts.verdicts) == (3, 1, {"exact": 2, "unresolved": 1})
    assert [record["verdict"] for _, record in store.answers("r")] == ["exact", "exact", "unresolved"]


def test_a_dead_workers_samples_go_on_from_their_brackets(store: Store) -> None:
    with_run(store)
    store.register("dead")
    store.claim("dead")
    store.beat("dead", {("r", 0): Finding(0.1, 0.9)})
    store.abandon("dead", attempts=2)
    store.register("w")
    assert claimed(store, "r").number == 1  # not beside others: it may have been the reason
    again = claimed(store)
    assert (again.number, again.attempt, again.lower, again.upper) == (0, 2, 0.1, 0.9)
    assert store.beat("dead", {}) == set()  # it lives after all, and holds nothing
    assert store.finish("dead", "r", 0, answer())  # what it found is true nevertheless
    assert store.sample("r", 0)[0].state == SampleState.DONE
    assert store.finish("w", "r", 0, answer(0.4, 0.6, "unresolved"))
    assert store.sample("r", 0)[0].verdict == "exact"


def test_a_sample_whose_workers_die_has_failed(store: Store) -> None:
    with_run(store, 1)
    for k in range(2):
        store.register(f"w{k}")
        store.claim(f"w{k}")
        store.abandon(f"w{k}", attempts=2)
    held, _ = store.sample("r", 0)
    assert (held.state, held.lost) == (SampleState.FAILED, 2)
    assert "died 2 times" in str(held.why)
    assert store.run("local", "r").state == "finished"


def test_a_worker_that_lies_stops_the_run_and_everything_is_kept(store: Store) -> None:
    with_run(store)
    store.register("w")
    store.claim("w")
    store.beat("w", {("r", 0): Finding(0.1, 0.3)})
    assert not store.finish("w", "r", 0, answer(0.6, 0.6))
    held, details = store.sample("r", 0)
    assert (held.lower, held.upper) == (0.1, 0.3)
    assert details.claims[0]["lower"] == 0.6
    stopped = store.run("local", "r")
    assert stopped.state == "failed"
    assert "SOUNDNESS ALARM: sample 0" in str(stopped.error)
    assert store.beat("w", {}) == set()
    assert store.claim("w") is None
    with pytest.raises(ConflictError, match="alarm"):
        store.resume("local", "r", None)


def test_cancelled_samples_keep_their_brackets_and_are_resumed(store: Store) -> None:
    with_run(store, 2)
    store.register("w")
    store.claim("w")
    store.cancel("local", "r")
    assert store.beat("w", {("r", 0): Finding(0.2, 0.8)}) == set()
    store.give_back("w", "r", 0, Finding(0.3, 0.8))
    assert store.claim("w") is None
    with pytest.raises(ConflictError, match="not at work"):
        store.cancel("local", "r")
    store.resume("local", "r", 5.0)
    assert store.run("local", "r").time_limit == 5.0
    again = claimed(store)
    assert (again.number, again.lower) == (0, 0.3)
    with pytest.raises(ConflictError, match="at work"):
        store.resume("local", "r", None)


def test_only_what_is_open_is_resumed(store: Store) -> None:
    with_run(store, 2)
    store.register("w")
    for finding in (answer(), answer(0.1, 0.9, "unresolved")):
        store.finish("w", "r", claimed(store).number, finding)
    store.resume("local", "r", None)
    assert claimed(store).number == 1
    store.finish("w", "r", 1, answer(0.5, 0.5))
    with pytest.raises(ConflictError, match="nothing to go on"):
        store.resume("local", "r", None)
    assert [one["verdict"] for _, one in store.answers("r")] == ["exact", "exact"]


def unproven(told: str = OUT_OF_TIME) -> Finding:
    """An answer without its proof, and why."""
    found = answer()
    return replace(found, record={**(found.record or {}), "proof": {"file": None, "why": told}})


def test_a_proof_that_was_not_found_in_time_is_looked_for_again(store: Store) -> None:
    with_run(store, 3, proofs=True)
    store.register("w")
    for finding in (unproven(), unproven(MISCLASSIFIED), replace(answer(), proof="p" * 64)):
        store.finish("w", "r", claimed(store).number, finding)
    store.resume("local", "r", 9.0)
    assert len(list(store.answers("r"))) == 3  # what is answered stays so
    again = claimed(store)
    assert (again.number, again.lower, again.upper) == (0, 0.5, 0.5)
    assert store.claim("w") is None
    proven = replace(answer(), proof="q" * 64)
    proven = replace(proven, record={**(proven.record or {}), "proof": {"file": "0.proof"}})
    store.finish("w", "r", 0, proven)
    held, details = store.sample("r", 0)
    assert (held.state, held.verdict, held.proof) == (SampleState.DONE, "exact", "q" * 64)
    assert (details.record or {})["proof"] == {"file": "0.proof"}
    assert store.run("local", "r").state == "finished"
    with pytest.raises(ConflictError, match="nothing to go on"):
        store.resume("local", "r", None)


def test_no_proof_is_looked_for_that_nobody_asked_for(store: Store) -> None:
    with_run(store, 1)
    store.register("w")
    store.finish("w", "r", claimed(store).number, unproven())
    with pytest.raises(ConflictError, match="nothing to go on"):
        store.resume("local", "r", None)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["late", "failed", "dead"])
def test_an_answer_outlives_the_search_for_its_proof(store: Store, ending: str) -> None:
    with_run(store, 1, proofs=True)
    store.register("w")
    store.finish("w", "r", claimed(store).number, unproven())
    store.resume("local", "r", None)
    claimed(store)
    if ending == "late":
        store.finish("w", "r", 0, answer(0.1, 0.9, "unresolved"))
    elif ending == "failed":
        store.fail("w", "r", 0, "the disk is full")
    else:
        store.abandon("w", attempts=1)
    held, _ = store.sample("r", 0)
    assert (held.state, held.verdict, held.lower, held.why) == (SampleState.DONE, "exact", 0.5, None)
    assert store.run("local", "r").state == "finished"


def test_runs_take_turns(store: Store) -> None:
    with_run(store, 4)
    with_run(store, 4, key="s", created_at=2.0)
    for worker in ("a", "b"):
        store.register(worker)
    assert {claimed(store, worker=worker).run_id for worker in ("a", "b")} == {"r", "s"}
    assert claimed(store, "s", worker="a").run_id == "s"


@pytest.mark.slow
def test_workers_beside_each_other_take_every_sample_once(store: Store) -> None:
    with_run(store, 40)
    taken: list[int] = []

    def work(name: str) -> None:
        store.register(name)
        while one := store.claim(name, "r"):
            taken.append(one.number)
            store.finish(name, "r", one.number, answer())

    threads = [threading.Thread(target=work, args=(f"w{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))
    assert store.run("local", "r").state == "finished"
    states = [event.id for event in store.events(0, 1000, "r") if event.kind == "run"]
    assert len(states) == 3  # queued, running, finished


def test_lists_page_by_page_hold_everything_once(store: Store) -> None:
    with_run(store, 11)
    store.register("w")
    for k in range(6):
        store.claim("w")
        store.finish("w", "r", k, answer(0.1 * (k % 3), math.inf if k % 2 else 0.9, "unresolved"))
    for sort, descending in product(("index", "lower", "upper", "gap", "seconds", "verdict"), (False, True)):
        found: list[StoredSample] = []
        cursor = None
        while True:
            page = store.samples("r", 4, cursor, sort=sort, descending=descending)
            assert page.total == 11
            found += page.items
            cursor = page.next
            if cursor is None:
                break
        column = {"index": "number"}.get(sort, sort)
        keys = [(getattr(one, column), one.number) for one in found]
        assert sorted(one.number for one in found) == list(range(11)), (sort, descending)
        assert keys == sorted(keys, reverse=descending), (sort, descending)


def test_a_cursor_that_is_none_is_refused(store: Store) -> None:
    with_run(store)
    for cursor in ("x", "bm8", "W10", "WzEsMiwzXQ", "eyJhIjoxfQ", "W251bGwsIG51bGxd"):
        with pytest.raises(NotThereError, match="cursor"):
            store.samples("r", 4, cursor)


def test_a_key_stands_for_one_question(store: Store) -> None:
    store.add_model(model())
    for key in ("r", "s"):
        assert store.add_run(run(key=key), "once", "q", [(0, None)]) == "r"
    assert store.run_of_key("local", "once", "q") == "r"
    with pytest.raises(ConflictError, match="another question"):
        store.run_of_key("local", "once", "p")
    assert store.run_of_key("other", "once", "p") is None


def test_what_is_used_is_not_dropped(store: Store) -> None:
    with_run(store)
    with pytest.raises(ConflictError, match="runs are about this model"):
        store.drop_model("local", "m")
    with pytest.raises(ConflictError, match="at work"):
        store.drop_run("local", "r")
    store.cancel("local", "r")
    assert store.drop_run("local", "r") == []
    store.drop_model("local", "m")
    for look in (lambda: store.model("local", "m"), lambda: store.run("local", "r")):
        with pytest.raises(NotThereError):
            look()
    assert store.events(0, 10) == []


def test_one_owners_things_are_invisible_to_another(store: Store) -> None:
    with_run(store)
    for look in (store.model, store.run, store.cancel, store.drop_run, store.drop_model):
        with pytest.raises(NotThereError, match="there is none"):
            look("other", "m" if look in (store.model, store.drop_model) else "r")
    assert store.runs("other", 10).total == store.models("other", 10).total == 0


def test_events_say_the_latest_of_each_sample(store: Store) -> None:
    with_run(store, 1)
    store.register("w")
    store.claim("w")
    for k in range(3):
        store.beat("w", {("r", 0): Finding(0.1 * k, 0.9, k)})
    assert [event.kind for event in store.events(0, 10)] == ["run", "run", "sample", *["bracket"] * 3]
    before = store.last_event()
    store.finish("w", "r", 0, answer(0.9, 0.9))
    assert [event.kind for event in store.events(0, 10)] == ["run", "run", "sample", "run"]
    assert [event.kind for event in store.events(before, 10, "r")] == ["sample", "run"]


def test_a_history_is_thinned_where_it_is_old() -> None:
    history: list[Any] = []
    for k in range(1000):
        history = thinned([*history, [float(k), 0.0, 1.0]])
    assert len(history) <= POINTS
    assert history[0][0] == 0.0
    assert [point[0] for point in history[-50:]] == [float(k) for k in range(950, 1000)]
