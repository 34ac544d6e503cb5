"""İYS's own description: the simulator has its messages and its keys."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from iys_simulator.errors import messages, retailer_messages, table_messages
from simulator_harness.client import BRAND_CODE, IYS_CODE, SimulatorHarness

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
    response = description["paths"][path][method]["responses"].get(str(status), {})
    content = response.get("content", {}).get("application/json", {})
    return [example["value"] for example in content.get("examples", {}).values()]


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
        messages.NOT_JSON,
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


@pytest.mark.parametrize("wording", ["examples", "table"])
async def test_body_that_is_no_json_has_the_message_of_its_endpoint(
    iys: SimulatorHarness, description: dict[str, Any], wording: str
):
    """H014 has two messages: each endpoint uses that of its example, or all that of the table."""
    iys.set(wording=wording)
    checked = 0
    for path, item in description["paths"].items():
        for method in item.keys() & {"post", "put"}:
            known = {
                one["message"]
                for value in examples(description, method, path, 400)
                for one in value.get("errors", [])
                if isinstance(one, dict) and one.get("code") == "H014"
            }
            if not known or path.startswith("/via/"):
                continue
            filled = path.format(
                iysCode=IYS_CODE, brandCode=BRAND_CODE, recipientType="BIREYSEL", type="MESAJ"
            )
            answer = await iys.http.request(method, filled, content=b"{")
            expected = known if wording == "examples" else {table_messages.TABLE_MESSAGES["H014"]}
            assert {one["message"] for one in answer.json()["errors"]} == expected, path
            checked += 1
    assert checked == 9


async def test_example_of_a_retailer_is_accepted(
    iys: SimulatorHarness, description: dict[str, Any]
):
    """İYS's own request creates a retailer."""
    content = description["paths"][f"{PATH}/retailers"]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        answer = await iys.http.post(f"{iys.path}/retailers", json=example["value"])
        assert answer.status_code == 201, answer.text


async def test_refused_list_of_retailers_has_a_listed_status(
    iys: SimulatorHarness, description: dict[str, Any]
):
    """The description of this endpoint has no 422."""
    listed = description["paths"][f"{PATH}/retailers"]["get"]["responses"]
    for asked in ("offset=x", "limit=x", "limit=0", "limit=101", "all=x", "short=x"):
        answer = await iys.http.get(f"{iys.path}/retailers?{asked}")
        assert str(answer.status_code) in listed, asked
        assert answer.status_code != 200, asked


async def test_token_refusals_are_iyss(iys: SimulatorHarness, description: dict[str, Any]):
    """A refusal is one of the examples."""
    right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
    known = examples(description, "post", "/oauth2/token", 400)
    for missing in right:
        form = {name: value for name, value in right.items() if name != missing}
        refused = await iys.http.post("/oauth2/token", json=form)
        assert refused.status_code == 400
        assert refused.json() in known
