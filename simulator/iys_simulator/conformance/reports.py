"""Cases of reconciliation, of e-mail reject links, and of the lists of places."""

from collections.abc import Iterator, Mapping
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import (
    LEFT_OUT,
    NOTHING,
    Case,
    Expected,
    Operation,
    Speaker,
    Step,
)
from iys_simulator.conformance.wording import (
    answers,
    asking,
    brand,
    citizen,
    later,
    refuses,
    saved,
    sent,
)

_DAY: Final = 86400.0
_REPORTS: Final = (
    op.DAY_STATISTICS,
    op.DAY_FILE,
    op.AGREEMENT,
    op.AGREEMENT_SAVE,
    op.AGREEMENT_TIMESTAMP,
)
_SHA384_NAME: Final = "SHA-384"

_LINKS: Final[tuple[tuple[str, dict[str, object], str, int], ...]] = (
    # What is wrong, the changed entry, the code, its status.
    ("no address", {"recipient": LEFT_OUT}, "H114", 422),
    ("no e-mail address", {"recipient": "a@b"}, "H120", 422),
    ("no recipient type", {"recipientType": LEFT_OUT}, "H170", 422),
    ("a recipient type that is none", {"recipientType": "X"}, "H116", 422),
)


_ANY: Final = {"recipientType": "BIREYSEL", "reportDate": "$today"}


def cases() -> Iterator[Case]:
    """Give the cases of reports, links and lists."""
    yield from _of_days()
    yield from _of_links()
    yield from _of_places()


def _case(  # noqa: PLR0913 - as `asking`
    operation: Operation,
    what: str,
    expected: Expected,
    *given: Step,
    body: object = NOTHING,
    at: Mapping[str, object] | None = None,
    speaker: Speaker = Speaker.PROVIDER,
) -> Case:
    usual = {**_ANY, **(at or {})}
    return asking(operation, what, expected, *given, body=body, at=usual, speaker=speaker)


def _of_days() -> Iterator[Case]:
    agrees = {"agreementStatus": True}
    for operation in _REPORTS:
        body = agrees if operation is op.AGREEMENT_SAVE else NOTHING
        for what, day, code in (
            ("no date", "01.02.2020", "H501"),
            ("more than seven days ago", "2020-02-01", "H502"),
        ):
            expected = refuses(code, 422, "reportDate")
            yield _case(operation, what, expected, body=body, at={"reportDate": day})
        ungranted = brand(grants=[{"integratorCode": "$integratorCode", "agreementControl": False}])
        yield _case(
            operation,
            "a partner without the right to reconcile",
            refuses("H353", 403),
            ungranted,
            body=body,
            speaker=Speaker.PARTNER,
        )
        if operation is not op.DAY_STATISTICS:
            yield _case(operation, "a day without movements", answers(204), brand(), body=body)

    counted = {"changeStats.0.type": ..., "changeStats.0.consents.0.total": ...}
    yield _case(op.DAY_STATISTICS, "a day's movements", answers(200, counted), brand(), saved())
    yield _case(
        op.DAY_STATISTICS,
        "a recipient type that is none",
        refuses("H116", 422),
        at={"recipientType": "X"},
    )
    over = (brand(), saved(), citizen(), later(_DAY))
    hashed = {"processStatus": "completed", "hashMethod": _SHA384_NAME, "hashValue": ...}
    yield _case(op.AGREEMENT, "a day that is over", answers(200, hashed), *over)
    yield _case(op.DAY_FILE, "a day that is over", answers(200), *over)
    yield _case(op.AGREEMENT_TIMESTAMP, "a day that is over", answers(200), *over)
    taken = answers(200, {"agreementCaptured": True})
    yield _case(op.AGREEMENT_SAVE, "a day that is over", taken, *over, body=agrees)
    yield _case(
        op.AGREEMENT_SAVE,
        "a day that is not agreed with",
        refuses("H512", 422, "agreementStatus"),
        body={"agreementStatus": False},
    )
    yield _case(op.AGREEMENT_SAVE, "no JSON", refuses("H014", 400), body=b"{")


def _of_links() -> Iterator[Case]:
    usual: dict[str, object] = {"recipient": "$email", "recipientType": "BIREYSEL"}

    def case(what: str, expected: Expected, *given: Step, body: object) -> Case:
        return _case(op.REJECT_LINKS, what, expected, *given, body=body)

    approved = saved(type="EPOSTA", recipient="$email")
    link = answers(200, {"0.url": ..., "0.recipient": "$email"})
    yield case("an approval", link, approved, body={"recipients": [usual]})
    nothing = answers(200, {"0.code": "H568", "0.recipient": "$email"})
    yield case("no approval", nothing, body={"recipients": [usual]})
    for what, changed, code, status in _LINKS:
        body = {"recipients": [sent({**usual, **changed})]}
        yield case(what, refuses(code, status), body=body)
    yield case("no addresses", refuses("H168", 422), body={})
    yield case("a text for a list", refuses("H478", 422), body={"recipients": "x"})
    yield case("an empty list", refuses("H164", 422), body={"recipients": []})
    yield case("more than a hundred", refuses("H127", 422), body={"recipients": [usual] * 101})
    yield case("a list", refuses("H097", 400), body=[])


def _of_places() -> Iterator[Case]:
    for one, many, known in ((op.CITY, op.CITIES, "34"), (op.TOWN, op.TOWNS, "1")):
        yield _case(many, "all of them", answers(200, {"0.code": ..., "0.name": ...}))
        found = answers(200, {"code": int(known), "name": ...})
        yield _case(one, "one that is known", found, at={"code": known})
        yield _case(one, "one that is unknown", answers(204), at={"code": "99999"})
        yield _case(one, "a code that is no number", refuses("H241", 400), at={"code": "x"})
