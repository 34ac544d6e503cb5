"""What the campaign of the console makes is the same for the same seed; what is wrong is found."""

import json
from collections import Counter
from dataclasses import replace

from izin.ledger.console.accounts import AccountRole
from izin.web.app import csrf_of
from tests.chaos.console import __main__ as console
from tests.chaos.console.making import KINDS, SignedIn, Target, hostile_request
from tests.support.builders import BRAND, CUSTOMER, PHONE
from tests.support.console.crawl import Party
from tests.support.customers.installation import FOREIGN_BRAND, FOREIGN_CUSTOMER, FOREIGN_RECIPIENT

OURS = Party(customer=CUSTOMER, brand=BRAND, recipient=PHONE, numbers={"complaints": 1})
THEIRS = replace(OURS, customer=FOREIGN_CUSTOMER, brand=FOREIGN_BRAND, recipient=FOREIGN_RECIPIENT)
TARGET = Target(
    port=8090,
    sessions=[SignedIn(role=role, token=role, csrf=csrf_of(role)) for role in AccountRole],
    ours=OURS,
    theirs=THEIRS,
)


def test_hostile_request_is_the_same_for_the_same_seed():
    """What did harm can be made again, alone; every kind comes up, of each role."""
    made = [hostile_request(1, number, TARGET) for number in range(400)]
    assert made[7] == hostile_request(1, 7, TARGET) != hostile_request(2, 7, TARGET)
    assert Counter(one.kind for one in made).keys() == KINDS.keys()
    for role in AccountRole:
        assert any(f"izin_session={role}".encode() in one.content for one in made)


def test_head_of_a_request_is_in_the_right_notation():
    """So that what is hostile reaches the console: no line of it has a break in it."""
    for number in range(400):
        head = hostile_request(1, number, TARGET).content.partition(b"\r\n\r\n")[0]
        first, *lines = head.split(b"\r\n")
        assert first.endswith(b" HTTP/1.1"), first
        assert first.count(b" ") == 2, first
        assert all(b":" in line and b"\n" not in line for line in lines), lines


def _page(status: int, text: str) -> bytes:
    body = f"<p>{text}</p>".encode()
    return b"HTTP/1.1 %d Any\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def test_campaign_finds_what_must_not_be():
    """A check that cannot fail says nothing; what a request named may stand in its answer."""
    found = console.ConsoleVerdict(memory=600)
    found.note("request 1", "pages", _page(200, "Acme"), THEIRS.named)
    found.note("request 2", "pages", _page(500, "Acme"), THEIRS.named)
    found.note("request 3", "pages", _page(200, "brand 900044"), THEIRS.named)
    found.note("request 4", "forms", _page(422, FOREIGN_CUSTOMER), THEIRS.named)
    found.note("request 5", "forms", b"", THEIRS.named)
    assert found.statuses == {"pages 200": 2, "pages 500": 1, "forms 422": 1, "forms -": 1}
    assert [one.partition(":")[0] for one in found.faults] == ["request 2 (pages)"]
    assert [one.partition(" shows")[0] for one in found.foreign] == ["request 3 (pages)"]
    report = console.report(found, seed=1, seconds=2)
    assert report.figures == {
        "console-requests": 5,
        "console-5xx": 1,
        "console-foreign": 1,
        "console-memory-mib": 600,
    }
    assert json.loads(json.dumps(dict(report.data)))["seed"] == 1
