"""Cases of asking: one status, many statuses, history, and what changed (pull)."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import LEFT_OUT, Case, Expected, Step
from iys_simulator.conformance.wording import (
    address,
    answers,
    asking,
    brand,
    citizen,
    later,
    refuses,
    saved,
    switched,
)

_BEYOND_THE_HIDDEN_HOUR: Final = 3700.0

ADDRESS_FIELDS: Final = (
    # What is wrong, the changed fields, the code, its location.
    ("no type", {"type": LEFT_OUT}, "H111", "type"),
    ("a type that is none", {"type": "SMS"}, "H117", "type"),
    ("no recipient type", {"recipientType": LEFT_OUT}, "H170", "recipientType"),
    ("a recipient type that is none", {"recipientType": "KURUMSAL"}, "H116", "recipientType"),
    ("no address", {"recipient": LEFT_OUT}, "H114", "recipient"),
    ("no e-mail address", {"type": "EPOSTA", "recipient": "a@b"}, "H120", "recipient"),
    ("no phone number", {"recipient": "05550000001"}, "H121", "recipient"),
    ("a phone that is too long", {"recipient": "+905555555555555"}, "H166", "recipient"),
)
"""What may be wrong with a body that names one address."""

PAGING: Final = (
    # What is wrong, the query, the code, its location.
    ("no items to a page", {"limit": 0}, "H187", "limit"),
    ("more than a hundred to a page", {"limit": 101}, "H186", "limit"),
)
"""What may be wrong with a page, alike in all lists."""

SWAPPED_PAGING: Final = (
    *PAGING,
    ("a limit that is no number", {"limit": "x"}, "H182", "limit"),
    ("an offset that is no number", {"offset": "x"}, "H183", "offset"),
)
"""The same where the examples swap H182 and H183 against İYS's own table."""


def cases() -> Iterator[Case]:
    """Give the cases of asking."""
    yield from _of_one_status()
    yield from _of_many()
    yield from _of_history()
    yield from _of_changes()


def _of_one_status() -> Iterator[Case]:
    record = {"status": "ONAY", "recipient": "$phone", "source": "HS_WEB", "transactionId": ...}
    yield asking(op.STATUS, "a consent", answers(200, record), saved(), body=address())
    taken = answers(200, {"retailerCode": "$retailer", "retailerTitle": ...})
    by_retailer = saved(retailerCode="$retailer")
    yield asking(op.STATUS, "a consent a retailer took", taken, by_retailer, body=address())
    yield asking(op.STATUS, "an address nobody registered", answers(200), body=address())
    rejected = answers(200, {"status": "RET", "source": "IYS_WEB"})
    yield asking(op.STATUS, "a citizen's rejection", rejected, saved(), citizen(), body=address())
    for what, changed, code, location in ADDRESS_FIELDS:
        yield asking(op.STATUS, what, refuses(code, 422, location), body=address(**changed))
    yield asking(op.STATUS, "a list", refuses("H097", 400), body=[])
    asked = Step(
        method="POST",
        path="/sps/$iysCode/brands/$brandCode/consents/status",
        body=address(),
        may_fail=True,
    )
    yield asking(
        op.STATUS,
        "the second query in an hour that takes one",
        refuses("H086", 429),
        switched(statusLimit=1),
        asked,
        body=address(),
    )
    no_right = brand(rights={"ARAMA": "write"})
    yield asking(
        op.STATUS, "a type without a right", refuses("H353", 403), no_right, body=address()
    )


def _of_many() -> Iterator[Case]:
    at = {"recipientType": "BIREYSEL", "type": "MESAJ"}

    def case(what: str, expected: Expected, body: object, *given: Step, **other: object) -> Case:
        return asking(op.STATUSES, what, expected, *given, body=body, at={**at, **other})

    both = {"recipients": ["$phone", "$otherPhone"]}
    yield case(
        "those that stand at ONAY",
        answers(200, {"requestId": ..., "list.0": "$phone"}),
        both,
        saved(),
    )
    yield case("a recipient type that is none", refuses("H116", 422), both, recipientType="X")
    yield case("a type that is none", refuses("H117", 422), both, type="SMS")
    yield case("no list", refuses("H168", 422, "recipients"), {})
    yield case("a text for a list", refuses("H478", 422, "recipients"), {"recipients": "x"})
    yield case("an empty list", refuses("H164", 422, "recipients"), {"recipients": []})
    yield case("the same address twice", refuses("H193", 422), {"recipients": ["$phone"] * 2})
    yield case("more than a thousand", refuses("H127", 422), {"recipients": ["$phone"] * 1001})
    yield case("an e-mail for a phone", refuses("H464", 422), {"recipients": ["$email"]})
    yield case("no JSON", refuses("H014", 400), b"{")
    no_right = brand(rights={"ARAMA": "write"})
    yield case("a type without a right", refuses("H353", 403), both, no_right)


def _of_history() -> Iterator[Case]:
    two = {"pagination.totalCount": 2, "list.0.source": "IYS_WEB", "list.1.source": "HS_WEB"}
    yield asking(
        op.HISTORY,
        "both movements of an address, the newest first",
        answers(200, two),
        saved(),
        citizen(),
        body=address(),
    )
    yield asking(op.HISTORY, "an address nobody registered", answers(200), body=address())
    for what, changed, code, location in ADDRESS_FIELDS:
        yield asking(op.HISTORY, what, refuses(code, 422, location), body=address(**changed))
    for what, query, code, location in SWAPPED_PAGING:
        expected = refuses(code, 422, location)
        yield asking(op.HISTORY, what, expected, body=address(), query=query)
    yield asking(op.HISTORY, "no JSON", refuses("H014", 400), body=b"{")
    asked = Step(
        method="POST",
        path="/sps/$iysCode/brands/$brandCode/consents/history",
        body=address(),
        may_fail=True,
    )
    yield asking(
        op.HISTORY,
        "the second query in an hour that takes one",
        refuses("H089", 429),
        switched(historyLimit=1),
        asked,
        body=address(),
    )


def _of_changes() -> Iterator[Case]:
    def case(what: str, expected: Expected, *given: Step, **query: object) -> Case:
        return asking(op.CHANGES, what, expected, *given, query=query)

    seen = later(_BEYOND_THE_HIDDEN_HOUR)
    ours = answers(200, {"after": ..., "list.0.recipient": "$phone", "list.0.source": "HS_WEB"})
    yield case("what the provider wrote", ours, brand(), saved(), seen, source="HS")
    theirs = answers(200, {"after": ..., "list.0.status": "RET", "list.0.source": "IYS_WEB"})
    yield case("what a citizen did", theirs, brand(), saved(), citizen(), seen)
    named = citizen(status="ONAY", source="IYS_WEB_YENI", citizenName="Örnek Kişi")
    with_name = answers(200, {"list.0.citizenName": "Örnek Kişi"})
    yield case("a citizen who added the brand himself", with_name, brand(), named, seen)
    closed = answers(200, {"list.0.consentDate": ..., "list.0.source": "IYS_AHS_HAT_KAPATMA"})
    closing = citizen(source="IYS_AHS_HAT_KAPATMA")
    yield case("a line that was closed", closed, brand(), saved(), closing, seen)
    yield case("the hidden hour", answers(204), brand(), saved(), source="HS")
    yield case("nothing at all", answers(204), brand())
    yield case("a stream that is none", refuses("H506", 422, "source"), source="X")
    yield case("more than a thousand", refuses("H507", 422, "limit"), limit=1001)
    yield case("a limit that is no number", refuses("H183", 422), limit="x")
