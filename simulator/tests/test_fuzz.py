"""Generated requests: none ends in 500, and every response is in İYS's description."""

import pytest
from starlette.responses import JSONResponse, Response

from iys_simulator.api import routes
from simulator_harness.description import DESCRIPTION, described, is_of_the_consent_domain
from simulator_harness.fuzz import findings, fuzzed_state
from simulator_harness.live import listening

pytestmark = pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")

EXAMPLES = 3
CITIES = "GET /info/city"


def test_every_response_is_documented():
    """A few requests to every endpoint; `make fuzz` sends a hundred to each."""
    with listening(fuzzed_state()) as url:
        found = list(findings(url, EXAMPLES))
    assert {one.operation for one in found} == {
        name for name, operation in described().items() if is_of_the_consent_domain(operation)
    }
    assert [f"{one.operation}: {text}" for one in found for text in one.objections] == []


@pytest.mark.parametrize(
    ("answer", "objection"),
    [
        (Response(status_code=500), "500 ServerError"),
        (Response(status_code=418), "418 UndefinedStatusCode"),
        (JSONResponse([{"code": "x"}]), "200 JsonSchemaError"),
        (Response("text", media_type="text/plain"), "200 UndefinedContentType"),
    ],
)
def test_undocumented_response_is_reported(
    monkeypatch: pytest.MonkeyPatch, answer: Response, objection: str
):
    """A 500, a status, a body or a type that the description does not have."""

    async def wrong(*_: object) -> Response:
        return answer

    cities = routes._PLACES[0]._replace(handler=wrong)
    monkeypatch.setattr(routes, "_PLACES", (cities, *routes._PLACES[1:]))
    with listening(fuzzed_state()) as url:
        (found,) = findings(url, 1, only=CITIES)
    assert any(text.startswith(objection) for text in found.objections)
