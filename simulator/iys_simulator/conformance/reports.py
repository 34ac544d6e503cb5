"""Cases of reconciliation, opt-out links and the lists of places."""

from collections.abc import Iterator, Mapping
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    advance_clock,
    citizen_change,
    define_brand,
    refusal,
    request_case,
    save_consent,
    success,
    without_omitted,
)
from iys_simulator.conformance.case import (
    NO_BODY,
    OMITTED,
    Caller,
    Case,
    Endpoint,
    Expected,
    Step,
)

_DAY: Final = 86400.0
_REPORTS: Final = (
    ep.DAY_STATISTICS,
    ep.DAY_FILE,
    ep.AGREEMENT,
    ep.AGREEMENT_SAVE,
    ep.AGREEMENT_TIMESTAMP,
)
_SHA384_NAME: Final = "SHA-384"

_LINKS: Final[tuple[tuple[str, dict[str, object], str, int], ...]] = (
    # Title, changed entry, code, status.
    ("missing recipient or address", {"recipient": OMITTED}, "H114", 422),
    ("invalid e-mail address", {"recipient": "a@b"}, "H120", 422),
    ("no recipient type", {"recipientType": OMITTED}, "H170", 422),
    ("invalid recipient type", {"recipientType": "X"}, "H116", 422),
)


_ANY: Final = {"recipientType": "BIREYSEL", "reportDate": "$today"}


def cases() -> Iterator[Case]:
    """Yield the cases of reports, links and lists."""
    yield from _of_days()
    yield from _of_links()
    yield from _of_places()


def _case(  # noqa: PLR0913 - as `request_case`
    endpoint: Endpoint,
    title: str,
    expected: Expected,
    *setup: Step,
    body: object = NO_BODY,
    path_params: Mapping[str, object] | None = None,
    caller: Caller = Caller.PROVIDER,
) -> Case:
    usual = {**_ANY, **(path_params or {})}
    return request_case(
        endpoint, title, expected, *setup, body=body, path_params=usual, caller=caller
    )


def _of_days() -> Iterator[Case]:
    agrees = {"agreementStatus": True}
    for endpoint in _REPORTS:
        body = agrees if endpoint is ep.AGREEMENT_SAVE else NO_BODY
        for title, day, code in (
            ("missing or invalid date", "01.02.2020", "H501"),
            ("more than seven days ago", "2020-02-01", "H502"),
        ):
            expected = refusal(code, 422, "reportDate")
            yield _case(endpoint, title, expected, body=body, path_params={"reportDate": day})
        ungranted = define_brand(
            grants=[{"integratorCode": "$integratorCode", "agreementControl": False}]
        )
        yield _case(
            endpoint,
            "a partner without the right to reconcile",
            refusal("H353", 403),
            ungranted,
            body=body,
            caller=Caller.PARTNER,
        )
        if endpoint is not ep.DAY_STATISTICS:
            yield _case(
                endpoint, "a day without movements", success(204), define_brand(), body=body
            )

    counted = {"changeStats.0.type": ..., "changeStats.0.consents.0.total": ...}
    yield _case(
        ep.DAY_STATISTICS,
        "a day's movements",
        success(200, counted),
        define_brand(),
        save_consent(),
    )
    yield _case(
        ep.DAY_STATISTICS,
        "invalid recipient type",
        refusal("H116", 422),
        path_params={"recipientType": "X"},
    )
    over = (define_brand(), save_consent(), citizen_change(), advance_clock(_DAY))
    hashed = {"processStatus": "completed", "hashMethod": _SHA384_NAME, "hashValue": ...}
    yield _case(ep.AGREEMENT, "a day that is over", success(200, hashed), *over)
    yield _case(ep.DAY_FILE, "a day that is over", success(200), *over)
    yield _case(ep.AGREEMENT_TIMESTAMP, "a day that is over", success(200), *over)
    taken = success(200, {"agreementCaptured": True})
    yield _case(ep.AGREEMENT_SAVE, "a day that is over", taken, *over, body=agrees)
    yield _case(
        ep.AGREEMENT_SAVE,
        "a day that is not agreed with",
        refusal("H512", 422, "agreementStatus"),
        body={"agreementStatus": False},
    )
    yield _case(ep.AGREEMENT_SAVE, "no JSON", refusal("H014", 400), body=b"{")


def _of_links() -> Iterator[Case]:
    usual: dict[str, object] = {"recipient": "$email", "recipientType": "BIREYSEL"}

    def case(title: str, expected: Expected, *setup: Step, body: object) -> Case:
        return _case(ep.OPT_OUT_LINKS, title, expected, *setup, body=body)

    approved = save_consent(type="EPOSTA", recipient="$email")
    link = success(200, {"0.url": ..., "0.recipient": "$email"})
    yield case("recipient at ONAY", link, approved, body={"recipients": [usual]})
    nothing = success(200, {"0.code": "H568", "0.recipient": "$email"})
    yield case("recipient without ONAY", nothing, body={"recipients": [usual]})
    for title, changed, code, status in _LINKS:
        body = {"recipients": [without_omitted({**usual, **changed})]}
        yield case(title, refusal(code, status), body=body)
    yield case("missing recipients", refusal("H168", 422), body={})
    yield case("text instead of a list", refusal("H478", 422), body={"recipients": "x"})
    yield case("an empty list", refusal("H164", 422), body={"recipients": []})
    yield case("more than a hundred", refusal("H127", 422), body={"recipients": [usual] * 101})
    yield case("a list", refusal("H097", 400), body=[])


def _of_places() -> Iterator[Case]:
    for one, many, known in ((ep.CITY, ep.CITIES, "34"), (ep.TOWN, ep.TOWNS, "1")):
        yield _case(many, "all of them", success(200, {"0.code": ..., "0.name": ...}))
        value_at = success(200, {"code": int(known), "name": ...})
        yield _case(one, "one that is known", value_at, path_params={"code": known})
        yield _case(one, "one that is unknown", success(204), path_params={"code": "99999"})
        yield _case(
            one, "code that is not a number", refusal("H241", 400), path_params={"code": "x"}
        )
