"""Cases of queries: one status, many statuses, history and pull."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    FULL_WIDTH_PHONE,
    advance_clock,
    change_settings,
    citizen_change,
    consent_key,
    define_brand,
    refusal,
    request_case,
    save_consent,
    success,
)
from iys_simulator.conformance.case import OMITTED, Case, Expected, Step

_BEYOND_THE_HIDDEN_HOUR: Final = 3700.0

ADDRESS_FIELDS: Final = (
    # Title, changed fields, code, location.
    ("missing type", {"type": OMITTED}, "H111", "type"),
    ("invalid type", {"type": "SMS"}, "H117", "type"),
    ("no recipient type", {"recipientType": OMITTED}, "H170", "recipientType"),
    ("invalid recipient type", {"recipientType": "KURUMSAL"}, "H116", "recipientType"),
    ("missing recipient or address", {"recipient": OMITTED}, "H114", "recipient"),
    ("invalid e-mail address", {"type": "EPOSTA", "recipient": "a@b"}, "H120", "recipient"),
    ("invalid phone number", {"recipient": "05550000001"}, "H121", "recipient"),
    ("phone number after a space", {"recipient": " +905550000001"}, "H121", "recipient"),
    ("phone number in other digits", {"recipient": FULL_WIDTH_PHONE}, "H121", "recipient"),
    ("phone number too long", {"recipient": "+905555555555555"}, "H166", "recipient"),
)
"""Errors of a body that names one consent."""

PAGING: Final = (
    # Title, query, code, location.
    ("no items to a page", {"limit": 0}, "H187", "limit"),
    ("more than a hundred to a page", {"limit": 101}, "H186", "limit"),
)
"""Errors of a page that all lists share."""

SWAPPED_PAGING: Final = (
    *PAGING,
    ("limit that is not a number", {"limit": "x"}, "H182", "limit"),
    ("offset that is not a number", {"offset": "x"}, "H183", "offset"),
)
"""The same where the examples swap H182 and H183 against İYS's own table."""


def cases() -> Iterator[Case]:
    """Yield the cases of queries."""
    yield from _of_one_status()
    yield from _of_many()
    yield from _of_history()
    yield from _of_changes()


def _of_one_status() -> Iterator[Case]:
    record = {"status": "ONAY", "recipient": "$phone", "source": "HS_WEB", "transactionId": ...}
    yield request_case(
        ep.STATUS, "a consent", success(200, record), save_consent(), body=consent_key()
    )
    collector = {"retailerCode": "$retailer", "retailerTitle": ..., "retailerAccessCount": 1}
    taken = success(200, collector)
    by_retailer = save_consent(retailerCode="$retailer")
    yield request_case(
        ep.STATUS, "consent collected by a retailer", taken, by_retailer, body=consent_key()
    )
    yield request_case(ep.STATUS, "unknown recipient", success(200), body=consent_key())
    rejected = success(200, {"status": "RET", "source": "IYS_WEB"})
    yield request_case(
        ep.STATUS,
        "citizen's opt-out",
        rejected,
        save_consent(),
        citizen_change(),
        body=consent_key(),
    )
    for title, changed, code, location in ADDRESS_FIELDS:
        yield request_case(
            ep.STATUS, title, refusal(code, 422, location), body=consent_key(**changed)
        )
    yield request_case(ep.STATUS, "a list", refusal("H097", 400), body=[])
    step = Step(
        method="POST",
        path="/sps/$iysCode/brands/$brandCode/consents/status",
        body=consent_key(),
        may_fail=True,
    )
    yield request_case(
        ep.STATUS,
        "second query with a limit of one per hour",
        refusal("H086", 429),
        change_settings(statusLimit=1),
        step,
        body=consent_key(),
    )
    no_right = define_brand(rights={"ARAMA": "write"})
    yield request_case(
        ep.STATUS, "channel without a right", refusal("H353", 403), no_right, body=consent_key()
    )


def _of_many() -> Iterator[Case]:
    path_params = {"recipientType": "BIREYSEL", "type": "MESAJ"}

    def case(title: str, expected: Expected, body: object, *setup: Step, **other: object) -> Case:
        return request_case(
            ep.STATUSES, title, expected, *setup, body=body, path_params={**path_params, **other}
        )

    both = {"recipients": ["$phone", "$otherPhone"]}
    yield case(
        "recipients at ONAY",
        success(200, {"requestId": ..., "list.0": "$phone"}),
        both,
        save_consent(),
    )
    yield case("invalid recipient type", refusal("H116", 422), both, recipientType="X")
    yield case("invalid type", refusal("H117", 422), both, type="SMS")
    yield case("no list", refusal("H168", 422, "recipients"), {})
    yield case("list instead of an object", refusal("H168", 422, "recipients"), [])
    yield case("text instead of a list", refusal("H478", 422, "recipients"), {"recipients": "x"})
    yield case("an empty list", refusal("H164", 422, "recipients"), {"recipients": []})
    yield case("same recipient twice", refusal("H193", 422), {"recipients": ["$phone"] * 2})
    yield case("more than a thousand", refusal("H127", 422), {"recipients": ["$phone"] * 1001})
    yield case("an e-mail for a phone", refusal("H464", 422), {"recipients": ["$email"]})
    yield case("no JSON", refusal("H014", 400), b"{")
    no_right = define_brand(rights={"ARAMA": "write"})
    yield case("channel without a right", refusal("H353", 403), both, no_right)


def _of_history() -> Iterator[Case]:
    two = {"pagination.totalCount": 2, "list.0.source": "IYS_WEB", "list.1.source": "HS_WEB"}
    yield request_case(
        ep.HISTORY,
        "both movements of an address, the newest first",
        success(200, two),
        save_consent(),
        citizen_change(),
        body=consent_key(),
    )
    yield request_case(ep.HISTORY, "unknown recipient", success(200), body=consent_key())
    for title, changed, code, location in ADDRESS_FIELDS:
        yield request_case(
            ep.HISTORY, title, refusal(code, 422, location), body=consent_key(**changed)
        )
    for title, query, code, location in SWAPPED_PAGING:
        expected = refusal(code, 422, location)
        yield request_case(ep.HISTORY, title, expected, body=consent_key(), query=query)
    yield request_case(ep.HISTORY, "no JSON", refusal("H014", 400), body=b"{")
    step = Step(
        method="POST",
        path="/sps/$iysCode/brands/$brandCode/consents/history",
        body=consent_key(),
        may_fail=True,
    )
    yield request_case(
        ep.HISTORY,
        "second query with a limit of one per hour",
        refusal("H089", 429),
        change_settings(historyLimit=1),
        step,
        body=consent_key(),
    )


def _of_changes() -> Iterator[Case]:
    def case(title: str, expected: Expected, *setup: Step, **query: object) -> Case:
        return request_case(ep.CHANGES, title, expected, *setup, query=query)

    seen = advance_clock(_BEYOND_THE_HIDDEN_HOUR)
    ours = success(200, {"after": ..., "list.0.recipient": "$phone", "list.0.source": "HS_WEB"})
    yield case("provider's movement", ours, define_brand(), save_consent(), seen, source="HS")
    theirs = success(200, {"after": ..., "list.0.status": "RET", "list.0.source": "IYS_WEB"})
    yield case("citizen's movement", theirs, define_brand(), save_consent(), citizen_change(), seen)
    named = citizen_change(status="ONAY", source="IYS_WEB_YENI", citizenName="Örnek Kişi")
    with_name = success(200, {"list.0.citizenName": "Örnek Kişi"})
    yield case("brand added by a citizen", with_name, define_brand(), named, seen)
    closed = success(200, {"list.0.consentDate": ..., "list.0.source": "IYS_AHS_HAT_KAPATMA"})
    closing = citizen_change(source="IYS_AHS_HAT_KAPATMA")
    yield case("closed line", closed, define_brand(), save_consent(), closing, seen)
    yield case("the hidden hour", success(204), define_brand(), save_consent(), source="HS")
    yield case("no movements", success(204), define_brand())
    yield case("unknown stream", refusal("H506", 422, "source"), source="X")
    yield case("more than a thousand", refusal("H507", 422, "limit"), limit=1001)
    yield case("limit that is not a number", refusal("H183", 422), limit="x")
