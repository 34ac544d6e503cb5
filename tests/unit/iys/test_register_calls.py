"""İYS's own history of a key, and reject links, as İYS answers them."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from izin.consent import Channel, RecipientType
from izin.iys.errors import MisconfiguredError, ThrottledError, UnreadableError
from izin.iys.rate_limit import HISTORY, CallClass
from izin.ledger.rate_limits import HOUR_LIMITS
from tests.unit.iys.test_client import BRAND, TRANSACTION, Answering, Recorded, a_client, refusing

EMAIL = "ada@example.com"
KEY = (Channel.EPOSTA, RecipientType.BIREYSEL, "Ada@example.com")
MOVEMENT = {
    "consentDate": "2026-03-02 12:00:00",
    "source": "HS_WEB",
    "recipient": EMAIL,
    "recipientType": "BIREYSEL",
    "status": "ONAY",
    "type": "EPOSTA",
    "creationDate": "2026-03-02 12:00:07",
    "transactionId": TRANSACTION,
}


def a_page(*movements: Mapping[str, object], total: int | None = None) -> dict[str, Any]:
    """Return a page of a history; ``total``: how many movements it is said to have."""
    count = len(movements) if total is None else total
    pagination = {"totalCount": count, "pageSize": len(movements), "offset": 0}
    return {"list": list(movements), "pagination": pagination}


async def history(answer: Answering) -> tuple[str, ...]:
    """Return what the client makes of an answer."""
    async with a_client(answer) as client:
        return await client.register.history(BRAND, *KEY)


async def test_history_is_returned_byte_for_byte():
    """With whatever İYS writes around and into it; asked for in the body, and in no URL."""
    said = json.dumps(a_page({**MOVEMENT, "note": "ş"}), ensure_ascii=False, indent=3) + "\n "
    iys = Recorded(200, said.encode())
    assert await history(iys) == (said,)
    assert iys.bodies == [
        {"recipient": "Ada@example.com", "recipientType": "BIREYSEL", "type": "EPOSTA"}
    ]
    (request,) = iys.requests
    assert request.url.path == f"{BRAND}/consents/history"
    assert request.url.query == b"limit=100&offset=0"


async def test_history_is_read_page_by_page():
    """Until it has as many movements as İYS counts."""
    asked: list[str] = []

    def paging(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["offset"])
        size = 100 if asked[-1] != "200" else 3
        return httpx.Response(200, json=a_page(*[MOVEMENT] * size, total=203))

    assert len(await history(paging)) == 3
    assert asked == ["0", "100", "200"]
    assert len(await history(Recorded(200, a_page()))) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        {},
        {"errors": [{"code": "H103", "message": "…"}]},
        b'{"list": [], "more": "\xff"}',
        {"list": "none"},
        a_page({**MOVEMENT, "recipient": "ece@example.com"}),
        a_page({**MOVEMENT, "type": "MESAJ"}),
        a_page({**MOVEMENT, "recipientType": "TACIR"}),
        a_page({"recipient": EMAIL}),
        a_page(MOVEMENT, total=1001),
        a_page(total=1),
        b'{"list": [], "more": "' + b"x" * 300_000 + b'"}',
    ],
    ids=[
        *(
            "empty",
            "no JSON",
            "no keys",
            "an error",
            "no UTF-8",
            "no list",
            "another recipient",
            "another channel",
        ),
        *("another recipient type", "no movement", "too long", "incomplete", "too large"),
    ],
)
async def test_answer_that_is_no_history_of_the_key_is_refused(body: Any):  # noqa: ANN401  # JSON
    """Nothing else is kept as evidence."""
    with pytest.raises(UnreadableError):
        await history(Recorded(200, body))


async def test_spent_hour_is_known_by_its_code():
    """H089 is of İYS's hour; a missing right is an operator's."""
    with pytest.raises(ThrottledError) as caught:
        await history(refusing(429, "H089"))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 3600
    with pytest.raises(MisconfiguredError):
        await history(refusing(403, "H353"))


def test_histories_of_an_hour_are_a_hundred_for_every_class():
    """No part of them is kept for opt-outs, none of which waits for a history."""
    limit = HOUR_LIMITS[HISTORY]
    assert {limit.room(one) for one in CallClass} == {100}


async def links(answer: Answering, *recipients: str) -> Mapping[str, tuple[str, str]]:
    """Return the links that İYS makes."""
    async with a_client(answer) as client:
        return await client.register.reject_links(BRAND, RecipientType.BIREYSEL, recipients)


async def test_link_or_code_is_returned_by_recipient():
    """In whatever order İYS has them."""
    url = "https://iys.example.com/RET/1"
    refused = {"recipient": "ece@example.com", "code": "H568", "message": "…"}
    iys = Recorded(200, [refused, {"url": url, "recipient": "ADA@example.com"}])
    found = await links(iys, EMAIL, "ece@example.com")
    assert found == {EMAIL: (url, ""), "ece@example.com": ("", "H568")}
    assert [one["recipient"] for one in iys.bodies[0]["recipients"]] == [EMAIL, "ece@example.com"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        [{"recipient": EMAIL}],
        [{"recipient": EMAIL, "url": "https://iys.example.com", "code": "H568"}],
        [{"recipient": "ece@example.com", "url": "https://iys.example.com"}],
    ],
)
async def test_answer_that_leaves_a_recipient_out_is_refused(body: object):
    """No recipient gets another's link, or none without a reason."""
    with pytest.raises(UnreadableError):
        await links(Recorded(200, body), EMAIL)


async def test_links_are_for_a_hundred_recipients_at_most():
    """More is a mistake of the caller, and nothing is sent."""
    iys = Recorded(200, [])
    for some in ([], [f"{number}@example.com" for number in range(101)]):
        with pytest.raises(ValueError, match="1 to 100"):
            await links(iys, *some)
    assert iys.requests == []
