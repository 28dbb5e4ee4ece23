"""The OpenAPI document, tested by a client that nobody here wrote: it sends what the document allows, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as drawn

from tests.draws import thorough
from tests.verifier.service.conftest import serving
from verifier.service.settings import Limits, Settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra `develop`)")

from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402 (where it is installed)

# No schema says which bytes are a network, nor which options fit it.
JUDGED = ("/models", "/data", "/arrays", "/runs", "/comparisons")
EXAMPLES = 100 if thorough() else 4
PATIENT = drawn(deadline=None, suppress_health_check=list(HealthCheck), database=None)
UNHURRIED = replace(Limits(), requests_per_minute=10_000_000)


@pytest.fixture
def document(settings: Settings, reading_here: None) -> Iterator[Any]:
    """The document as the application gives it."""
    with serving(replace(settings, limits=UNHURRIED)) as (client, _):
        yield schemathesis.openapi.from_asgi("/openapi.json", client.app, headers={"Host": "localhost"})


@pytest.mark.slow
def test_every_operation_is_what_the_document_says(document: Any) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 30
    for operation in operations:
        judged = operation.method == "post" and operation.path in JUDGED
        holds(operation, [positive_data_acceptance] if judged else [])


def holds(operation: Any, excluded: list[Any]) -> None:
    """Whatever is asked of an operation, what it answers is what the document says."""

    @drawn(PATIENT, max_examples=EXAMPLES, derandomize=not thorough())
    @given(case=operation.as_strategy())
    def as_said(case: Any) -> None:
        case.call_and_validate(headers={"Host": "localhost"}, excluded_checks=excluded)

    as_said()


def test_every_problem_and_every_route_is_in_the_document(client: Any) -> None:
    document = client.get("/openapi.json").json()
    assert len(document["paths"]) >= 25
    for path, operations in document["paths"].items():
        for name, operation in operations.items():
            where = f"{name} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            for status in ("404", "422", "429"):
                assert "application/problem+json" in operation["responses"][status]["content"], where
