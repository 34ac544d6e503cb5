"""İYS's own description: the simulator has its messages and its keys."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from iys_simulator.errors import messages, retailer_messages, table_messages
from simulator_harness.client import SimulatorHarness

DESCRIPTION = Path(__file__).parents[3] / "shared" / "iys" / "openapi-3.2.0.json"
PATH = "/sps/{iysCode}/brands/{brandCode}"

pytestmark = pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")

# Wordings that stand in no example or table as a whole, or only in this form.
_ELSEWHERE = {
    "H127": "its example is of another method, with 100",
    "H520": "the description shows both audiences in one template",
}


@pytest.fixture(scope="module")
def description():
    """İYS's OpenAPI description."""
    return json.loads(DESCRIPTION.read_text(encoding="utf-8"))


def texts_in(value: object) -> list[str]:
    """Return all texts of a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in inner for text in texts_in(part)]


def examples(description: dict[str, Any], method: str, path: str, status: int):
    """Return the examples of a response."""
    content = description["paths"][path][method]["responses"][str(status)]["content"]
    return [example["value"] for example in content["application/json"]["examples"].values()]


def keys_of(values: Iterable[object]) -> set[str]:
    """Return all keys of the objects in `values`, at any depth."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            found |= value.keys() | keys_of(value.values())
        elif isinstance(value, list):
            found |= keys_of(value)
    return found


def plain(text: str) -> str:
    """Return `text` without the names of placeholders and repeated spaces."""
    return re.sub(r"\s+", " ", re.sub(r"\{+[^{}]*\}+", "{}", text)).strip()


@pytest.mark.parametrize("code", sorted(set(messages.REFUSALS) - _ELSEWHERE.keys()))
def test_every_message_is_iyss(description: dict[str, Any], code: str):
    """Each message is in the description, except for placeholders."""
    ours = plain(messages.REFUSALS[code].message)
    parts = [re.escape(part) for part in ours.split("{}")]
    pattern = re.compile(".{0,40}".join(parts))
    assert any(pattern.search(plain(text)) for text in texts_in(description)), ours


@pytest.mark.parametrize(
    "message",
    [
        messages.PASSWORD_MISSING,
        messages.FIRST_RET_IN_BATCH,
        messages.RETAILER_NOT_OF_USER,
        messages.NOT_REMOVED,
        messages.PHONE_IN_QUERY,
        messages.LIMIT_IN_SECTION,
        messages.FORBIDDEN_MISSPELT.format(field="iysCode"),
        retailer_messages.LIMIT_AS_H182,
        retailer_messages.OFFSET_AS_H183,
        retailer_messages.ACCESS_LIMIT,
        retailer_messages.ACCESS_EMPTY,
        retailer_messages.ACCESS_PHONE_TOO_LONG,
        retailer_messages.REMOVAL_REFUSED,
        retailer_messages.RECIPIENT_TYPE_IN_REPORT,
    ],
)
def test_second_messages_are_iyss(description: dict[str, Any], message: str):
    """The second messages of a code are in the description."""
    assert any(message in text for text in texts_in(description))


@pytest.mark.parametrize("code", sorted(table_messages.TABLE_MESSAGES))
def test_table_messages_are_iyss(description: dict[str, Any], code: str):
    """The messages of the switch are in the description too."""
    found = {plain(text) for text in texts_in(description)}
    assert any(plain(table_messages.TABLE_MESSAGES[code]) in text for text in found)


def assert_shape(
    answer: httpx.Response, description: dict[str, Any], method: str, path: str, status: int
) -> None:
    assert answer.status_code == status, answer.text
    known = keys_of(examples(description, method, path, status))
    assert keys_of([answer.json()]) <= known
    assert answer.json(), "an empty answer has no shape"


async def test_token_responses_have_iyss_keys(iys: SimulatorHarness, description: dict[str, Any]):
    """The token response and its refusals have İYS's keys."""
    right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
    answer = await iys.http.post("/oauth2/token", json=right)
    assert_shape(answer, description, "post", "/oauth2/token", 200)
    known = examples(description, "post", "/oauth2/token", 400)
    for missing in right:
        form = {name: value for name, value in right.items() if name != missing}
        refused = await iys.http.post("/oauth2/token", json=form)
        assert refused.status_code == 400
        assert refused.json() in known


@pytest.mark.parametrize("version", ["", "/v2"])
async def test_add_responses_have_iyss_keys(
    iys: SimulatorHarness, description: dict[str, Any], version: str
):
    """Single and batch adds, their results and their refusals have İYS's keys."""
    path = version + PATH + "/consents"
    assert_shape(await iys.add(version=version), description, "post", path, 200)
    wrong = await iys.add(version=version, recipient="9055436100000000")
    assert_shape(wrong, description, "post", path, 422)
    business = await iys.add(version=version, status="RET", recipient="+905550000002")
    assert_shape(business, description, "post", path, 400)
    batch = await iys.batch(iys.consent(recipient="+905550000003"), version=version)
    assert_shape(batch, description, "post", path + "/request", 202)
    refused = await iys.batch(iys.consent(status="X"), version=version)
    assert_shape(refused, description, "post", path + "/request", 422)
    known = keys_of(examples(description, "get", path + "/request/{requestId}", 200))
    items = [
        iys.consent(recipient="+905550000004"),
        iys.consent(recipient="+905550000005", status="RET"),
    ]
    first = await iys.settled(*items, version=version)
    again = await iys.settled(*items, version=version)
    iys.state.settings = iys.state.settings.changed({"enqueue_share": 0})
    waiting = await iys.results((await iys.batch(*items, version=version)).json()["requestId"])
    assert {item["status"] for item in first + waiting} == {"success", "failure", "enqueue"}
    assert keys_of([first, again, waiting]) <= known


async def test_query_responses_have_iyss_keys(iys: SimulatorHarness, description: dict[str, Any]):
    """Status, statuses, changes, brands and subscription have İYS's keys."""
    await iys.add()
    body = {"recipient": "+905550000001", "recipientType": "BIREYSEL", "type": "MESAJ"}
    single = await iys.http.post(f"{iys.path}/consents/status", json=body)
    assert_shape(single, description, "post", PATH + "/consents/status", 200)
    path = PATH + "/consents/{recipientType}/status/{type}"
    asked = {"recipients": ["+905550000001"]}
    many = await iys.http.post(f"{iys.path}/consents/BIREYSEL/status/MESAJ", json=asked)
    assert_shape(many, description, "post", path, 200)
    iys.state.clock.advance(3600)
    changes = await iys.changes(source="HS")
    assert_shape(changes, description, "get", PATH + "/consents/changes", 200)
    brands = await iys.http.get("/sps/660001/brands")
    assert_shape(brands, description, "get", "/sps/{iysCode}/brands", 200)
    subscription = await iys.http.get("/sps/660001/subscription")
    assert_shape(subscription, description, "get", "/sps/{iysCode}/subscription", 200)
