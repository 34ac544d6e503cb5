"""The page of the gate is correct: its requests are sent, and what it names is there."""

import json
import re
import shlex

from izin.consent import Channel
from izin.consent.may_send import PermissionReason
from izin.gate import receipts, server, verdicts
from izin.gate.question import FIELDS
from izin.runtime.http_server.problems import JSON_TYPE
from izin.runtime.http_server.shedding import HttpLimits
from izin.runtime.settings import GateSettings
from izin.schemas.consistency_token import token_of
from izin.schemas.may_send_api import LONGEST_TEXT, MOST_RECIPIENTS, PATH
from tests.support.builders import API_KEY, AUTHORIZATION, EMAIL
from tests.support.project_rules import ROOT
from tests.unit.gate.conftest import Api, a_standing

PAGE = (ROOT / "docs" / "gate.md").read_text("utf-8")
CURLS = re.findall(r"^curl (.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(EXAMPLE,) = re.findall(r"200:\n+```json\n(.*?)```", PAGE, re.DOTALL)


def part(title: str) -> str:
    """Return a chapter of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


async def test_each_request_is_answered(api: Api):
    """Copied, with a key and a token where they stand; the first as the page shows."""
    api.state.put(a_standing())
    api.state.put(a_standing(opted_out=True), channel=Channel.EPOSTA, recipient=EMAIL)
    answers = []
    for words in CURLS:
        url, *options = shlex.split(
            words.replace("\\\n", "")
            .replace("$IZIN_API_KEY", API_KEY)
            .replace("$TOKEN", token_of([]))
        )
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert options[1:4:2] == [
            f"Authorization: {AUTHORIZATION['Authorization']}",
            f"Content-Type: {JSON_TYPE}",
        ]
        assert url == f"http://127.0.0.1:{GateSettings().port}{PATH}"
        response = await api.client.post(
            PATH, content=given["-d"], headers={"content-type": JSON_TYPE}
        )
        assert response.status_code == 200, response.text
        answers.append(response.json())
    first, exempt, by_token = answers
    assert first | {"as_of": "…"} == json.loads(EXAMPLE)
    assert exempt["verdicts"][0]["reason"] == "exempt"
    assert exempt["receipt"] == api.receipts.written[0]["receipt_id"]
    assert by_token["verdicts"][0]["reason"] == "registered"


def test_every_reason_is_on_the_page_in_its_order():
    """The order in which they apply, and which are a yes."""
    rows = re.findall(r"^\| `([\w-]+)` \| (yes|no) \|", part("Reasons"), re.MULTILINE)
    assert [name for name, _ in rows] == list(map(str, PermissionReason))
    assert {name for name, said in rows if said == "yes"} == {"exempt", "registered"}


def test_every_field_is_on_the_page():
    """And no other."""
    named = re.findall(r"^\| `(\w+)` \|", part("Fields of a question"), re.MULTILINE)
    assert sorted(named) == sorted(one.name for one in FIELDS)


def test_every_status_is_on_the_page():
    """As the OpenAPI document has them."""
    document = json.loads((ROOT / "docs" / "openapi" / "gate.json").read_text("utf-8"))
    assert set(re.findall(r"^\| (\d{3})", part("Responses"), re.MULTILINE)) == set(
        document["paths"][PATH]["post"]["responses"]
    )


def test_limits_are_those_of_the_code():
    """Numbers that a sender plans with."""
    settings, limits = GateSettings(), HttpLimits()
    said = (
        f"{limits.requests} requests at once",
        f"so {limits.requests // 2} if",
        f"over {server._SMALL_BODY // 1024} KiB",
        f"{server._LISTS} lists at once, {server._LISTS // 2} of one key",
        f"parts of {verdicts._AT_ONCE}",
        f"more than {MOST_RECIPIENTS} recipients",
        f"over {server.MAX_BODY // 2**20} MiB",
        f"up to {LONGEST_TEXT} characters",
        f"up to {int(server.REACHED_WITHIN * 1000)} ms",
        f"{settings.stale_after.total_seconds():.0f} seconds (`IZIN_GATE_STALE_AFTER`)",
        f"127.0.0.1:{settings.port}`",
        f"127.0.0.1:{settings.operations_port}`",
    )
    assert [one for one in said if one not in PAGE] == []
    assert (2 * receipts.DELIVERED_WITHIN, "within ten seconds" in PAGE) == (10, True)
    assert (
        settings.iys_closes_after.total_seconds(),
        settings.iys_warns_after.total_seconds(),
    ) == (
        24 * 3600,
        3600,
    )
