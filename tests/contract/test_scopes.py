"""What the scopes of API keys refuse: every route of the OpenAPI documents, at every other scope.

A route that is new is in a document (``test_openapi``), so it is here, or these tests fail.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.server import Intake
from izin.runtime.http_server.problems import public_app
from izin.schemas.api_keys import ApiKey, Scope
from tests.contract.test_openapi import API, FEEDS, GATE, INTAKE, paths
from tests.support.builders import AUTHORIZATION, NOON, an_api_key, check_refusal, known
from tests.unit.api.conftest import serving as serving_api
from tests.unit.feeds.conftest import serving as serving_feeds
from tests.unit.gate.conftest import serving as serving_gate
from tests.unit.producers.conftest import FakePublisher, FakeReceipts, intake_routes

DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    "api": API,
    "feeds": FEEDS,
    "gate": GATE,
    "intake": INTAKE,
}
GRANTED: Mapping[tuple[str, str], frozenset[Scope]] = {
    ("get", "/v1/events/{event_id}"): frozenset({Scope.PUBLISH}),
    ("post", "/v1/consents/lookup"): frozenset({Scope.ASK}),
    ("post", "/v1/consents/confirmation"): frozenset({Scope.PUBLISH}),
    ("post", "/v1/recipients/change"): frozenset({Scope.PUBLISH}),
    ("post", "/v1/via"): frozenset({Scope.PUBLISH}),
    ("post", "/v1/via/{request}/code"): frozenset({Scope.PUBLISH}),
    ("get", "/v1/via/{request}"): frozenset({Scope.PUBLISH}),
    ("get", "/v1/opt-outs"): frozenset({Scope.SUBSCRIBE}),
    ("get", "/v1/permissions"): frozenset({Scope.SUBSCRIBE}),
    ("get", "/v1/outcomes"): frozenset({Scope.SUBSCRIBE}),
    ("post", "/v1/may-send"): frozenset({Scope.ASK}),
    ("post", "/v1/consents"): frozenset({Scope.PUBLISH, Scope.TEST}),
}
"""Which scopes each route takes; one that needs a key and is not here takes none."""
WITHOUT_KEY = {
    ("get", "/health/live"),
    ("get", "/health/ready"),
    # A signature of the sender, the form's own rules, a sealed link.
    ("post", "/v1/sources/{source}"),
    ("post", "/v1/forms/{form}"),
    *(
        (method, f"/v1/{page}/{{link}}")
        for method in ("get", "post")
        for page in ("opt-out", "confirm")
    ),
}
"""The routes that take no API key."""
ROUTES = [
    (api, method, path)
    for api, document in DOCUMENTS.items()
    for method, path in sorted(paths(document) - WITHOUT_KEY)
]


@asynccontextmanager
async def intake(key: ApiKey) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an intake to a key."""
    fake, receipts = FakePublisher(lambda: NOON), FakeReceipts([], lambda: NOON)
    brands = BrandDirectory([])
    served = Intake(fake, brands, receipts, known(key), clock=lambda: NOON, chance=bytes)
    transport = httpx.ASGITransport(public_app(intake_routes(served), dict))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://intake", headers=AUTHORIZATION
    ) as client:
        yield client


SERVING: Mapping[str, Callable[[ApiKey], AbstractAsyncContextManager[Any]]] = {
    "api": serving_api,
    "feeds": lambda key: serving_feeds(known(key)),
    "gate": lambda key: serving_gate(known(key)),
    "intake": intake,
}


@pytest.mark.parametrize(("api", "method", "path"), ROUTES)
@pytest.mark.parametrize("scope", [*Scope, None])
async def test_route_refuses_what_its_scope_does_not_grant(
    scope: Scope | None, api: str, method: str, path: str
) -> None:
    """With 403, and without a key with 401, before it looks at what is asked."""
    granted = GRANTED[method, path]
    async with SERVING[api](an_api_key(scopes=frozenset({str(scope)}))) as served:
        client = served if isinstance(served, httpx.AsyncClient) else served.client
        if scope is None:
            del client.headers["Authorization"]
        response = await client.request(method, path.replace("{event_id}", "event-1"), json=[])
    if scope in granted:
        assert response.status_code not in {401, 403}
    else:
        needed = next(iter(sorted(granted)))
        answer = (response.status_code, response.headers["content-type"], response.text)
        check_refusal(scope, needed, answer)


@pytest.mark.parametrize("api", DOCUMENTS)
def test_document_says_which_routes_take_a_key(api: str) -> None:
    """Those of these tests, and no other."""
    said = {
        (method, path)
        for path, operations in DOCUMENTS[api]["paths"].items()
        for method, one in operations.items()
        if one.get("security")
    }
    assert said == paths(DOCUMENTS[api]) - WITHOUT_KEY
    assert said <= GRANTED.keys()
