"""Cases of adding consents: single adds, lists and their results; V1 and V2."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    FULL_WIDTH_PHONE,
    advance_clock,
    citizen_change,
    consent,
    define_brand,
    refusal,
    save_consent,
    submit_batch,
    success,
)
from iys_simulator.conformance.case import OMITTED, Case, Endpoint, Expected, Step

_SINGLES: Final = (ep.ADD, ep.ADD_V2)
_LISTS: Final = (ep.BATCH, ep.BATCH_V2)
_RESULTS: Final = ((ep.RESULT, ""), (ep.RESULT_V2, "/v2"))
_RESULT_DELAY: Final = 301.0
_TACIR: Final = {"recipientType": "TACIR", "source": OMITTED, "consentDate": OMITTED}

Row = tuple[str, dict[str, object], str, str | None]

FIELD_ERRORS: Final[tuple[Row, ...]] = (
    # Title, changed fields, code, location.
    ("missing status", {"status": OMITTED}, "H110", "status"),
    ("missing type", {"type": OMITTED}, "H111", "type"),
    ("missing or invalid date", {"consentDate": OMITTED}, "H112", "consentDate"),
    ("missing source", {"source": OMITTED}, "H113", "source"),
    ("missing recipient or address", {"recipient": OMITTED}, "H114", "recipient"),
    ("invalid status", {"status": "EVET"}, "H115", "status"),
    ("invalid recipient type", {"recipientType": "KURUMSAL"}, "H116", "recipientType"),
    ("invalid type", {"type": "SMS"}, "H117", "type"),
    ("unknown field", {"colour": "blue"}, "H118", None),
    ("source reserved for İYS", {"source": "IYS_WEB"}, "H119", "source"),
    ("invalid e-mail address", {"type": "EPOSTA", "recipient": "a@b"}, "H120", "recipient"),
    ("invalid phone number", {"recipient": "05550000001"}, "H121", "recipient"),
    ("phone number after a space", {"recipient": " +905550000001"}, "H121", "recipient"),
    ("phone number in other digits", {"recipient": FULL_WIDTH_PHONE}, "H121", "recipient"),
    ("neither phone nor e-mail, without a type", {"type": OMITTED, "recipient": "x"}, "H122", None),
    ("phone number too long", {"recipient": "9055436100000000"}, "H160", "recipient"),
    ("too many retailers", {"retailerAccess": [1] * 3001}, "H126", "retailerAccess"),
    ("empty list of retailers", {"retailerAccess": []}, "H163", "retailerAccess"),
    (
        "HS_2015 with another date",
        {"source": "HS_2015", "consentDate": "$yesterday"},
        "H155",
        "consentDate",
    ),
    ("date before 1 May 2015", {"consentDate": "2014-12-31 10:00:00"}, "H156", "consentDate"),
    ("impossible date", {"consentDate": "2020-15-01 10:00:00"}, "H157", "consentDate"),
    ("date in another format", {"consentDate": "01.02.2020 10:00"}, "H158", "consentDate"),
    ("future date", {"consentDate": "$tomorrow"}, "H162", "consentDate"),
    (
        "older than three business days",
        {"consentDate": "$monthAgo"},
        "H467",
        "consentDate",
    ),
    ("HS_KARAR with ONAY", {"source": "HS_KARAR"}, "H408", "status"),
)

_BUSINESS: Final[tuple[tuple[str, str, int, dict[str, object], tuple[Step, ...]], ...]] = (
    # Title, code and status, changed fields, setup.
    (
        "RET after RET",
        "H174",
        400,
        {"status": "RET", "consentDate": "$now"},
        (
            save_consent(consentDate="$yesterday"),
            save_consent(status="RET", consentDate="$minuteAgo"),
        ),
    ),
    ("RET as the first record", "H175", 400, {"status": "RET"}, ()),
    ("older than the record", "H178", 400, {}, (save_consent(consentDate="$minuteAgo"),)),
    ("same date as the record", "H178", 400, {"source": "HS_MOBIL"}, (save_consent(),)),
    ("older than a citizen's opt-out", "H178", 400, {}, (save_consent(), citizen_change())),
    (
        "TACIR update without a date",
        "H462",
        400,
        {"recipientType": "TACIR", "consentDate": OMITTED},
        (save_consent(recipientType="TACIR"),),
    ),
    (
        "TACIR update without a source",
        "H463",
        400,
        {"recipientType": "TACIR", "source": OMITTED, "consentDate": "$now"},
        (save_consent(recipientType="TACIR"),),
    ),
    ("HS_KARAR as the first record", "H486", 400, {"source": "HS_KARAR", "status": "RET"}, ()),
    ("consent limit of the brand reached", "H525", 422, {}, (define_brand(consentLimit=0),)),
    (
        "channel without a right to write",
        "H353",
        403,
        {},
        (define_brand(rights={"ARAMA": "write"}),),
    ),
    ("unknown retailer", "H180", 403, {"retailerCode": 1}, ()),
    ("access for an unknown retailer", "H180", 403, {"retailerAccess": [1]}, ()),
    ("empty retailer", "H267", 400, {"retailerCode": ""}, ()),
)


def cases() -> Iterator[Case]:
    """Yield the cases of adding consents."""
    for endpoint in _SINGLES:
        yield from _of_singles(endpoint)
    for endpoint in _LISTS:
        yield from _of_lists(endpoint)
    for endpoint, version in _RESULTS:
        yield from _of_results(endpoint, version)


def _of_singles(endpoint: Endpoint) -> Iterator[Case]:
    def case(title: str, body: object, expected: Expected, *setup: Step) -> Case:
        return Case(endpoint=endpoint, title=title, body=body, expected=expected, setup=setup)

    done = success(200, {"transactionId": ..., "creationDate": ...})
    yield case("first ONAY", consent(), done)
    yield case("RET after ONAY", consent(status="RET", consentDate="$now"), done, save_consent())
    yield case("newer ONAY after ONAY", consent(consentDate="$now"), done, save_consent())
    yield case("e-mail recipient", consent(type="EPOSTA", recipient="$email"), done)
    yield case("channel ARAMA", consent(type="ARAMA"), done)
    yield case("TACIR without date and source", consent(**_TACIR), done)
    yield case("no recipient type: BIREYSEL", consent(recipientType=OMITTED), done)
    yield case(
        "HS_KARAR after ONAY",
        consent(source="HS_KARAR", status="RET", consentDate="$now"),
        done,
        save_consent(),
    )
    yield case(
        "old date before the brand's activation",
        consent(consentDate="$monthAgo"),
        done,
        define_brand(activatedAt=None),
    )
    for title, changed, code, location in FIELD_ERRORS:
        where = (location,) if location else ()
        yield case(title, consent(**changed), refusal(code, 422, *where))
    for title, code, status, changed, setup in _BUSINESS:
        yield case(title, consent(**changed), refusal(code, status), *setup)
    yield case("list instead of a consent", [consent()], refusal("H085", 400))
    yield case("no JSON", b"{", refusal("H014", 400))
    again = endpoint is ep.ADD_V2
    yield case(
        "same request again",
        consent(),
        success(200, {"transactionId": "$transactionId"}) if again else refusal("H178", 400),
        Step(
            method="POST",
            path=endpoint.path.replace("{", "$").replace("}", ""),
            body=consent(),
            saves={"transactionId": "transactionId"},
        ),
    )


def _of_lists(endpoint: Endpoint) -> Iterator[Case]:
    def case(title: str, body: object, expected: Expected, *setup: Step) -> Case:
        return Case(endpoint=endpoint, title=title, body=body, expected=expected, setup=setup)

    yield case(
        "two consents",
        [consent(), consent(recipient="$otherPhone")],
        success(202, {"requestId": ..., "subRequests.1.recipient": "$otherPhone"}),
    )
    yield case("RET is accepted into the queue", [consent(status="RET")], success(202))
    for title, changed, code, location in FIELD_ERRORS:
        where = (location,) if location else ()
        items = [consent(recipient="$otherPhone"), consent(**changed)]
        yield case(f"{title}, in the second item", items, refusal(code, 422, *where, index=1))
    yield case("no list", consent(), refusal("H092", 400))
    yield case("an empty list", [], refusal("H092", 400))
    yield case("no JSON", b"[", refusal("H014", 400))
    yield case("more than a thousand", [consent()] * 1001, refusal("H091", 422))
    yield case("same recipient twice", [consent(), consent()], refusal("H194", 422, index=1))
    yield case(
        "unknown retailer in the second item",
        [consent(recipient="$otherPhone"), consent(retailerCode=1)],
        refusal("H180", 403, "retailerCode", index=1),
    )
    yield case(
        "access for an unknown retailer",
        [consent(retailerAccess=[1])],
        refusal("H180", 403, "retailerAccess", 0, index=0),
    )
    yield case("empty retailer", [consent(retailerCode="")], refusal("H267", 400))
    yield case(
        "channel without a right to write",
        [consent()],
        refusal("H353", 403),
        define_brand(rights={"ARAMA": "write"}),
    )
    yield case(
        "consent limit of the brand reached",
        [consent()],
        refusal("H525", 422),
        define_brand(consentLimit=0),
    )


def _of_results(endpoint: Endpoint, version: str) -> Iterator[Case]:
    def case(title: str, expected: Expected, *setup: Step, request: str = "$requestId") -> Case:
        return Case(
            endpoint=endpoint,
            title=title,
            expected=expected,
            path_params={"requestId": request},
            setup=setup,
        )

    def item(code: str) -> Expected:
        return success(200, {"0.status": "failure", "0.error.code": code, "0.subRequestId": ...})

    done = advance_clock(_RESULT_DELAY)
    yield case(
        "success",
        success(200, {"0.status": "success", "0.transactionId": ..., "0.creationDate": ...}),
        submit_batch(consent(), version=version),
        done,
    )
    yield case(
        "waiting",
        success(200, {"0.status": "enqueue", "0.subrequestId": ...}),
        submit_batch(consent(), version=version),
        advance_clock(_RESULT_DELAY / 2 + 10),
    )
    yield case("queried at once", success(200), submit_batch(consent(), version=version))
    for title, code, status, changed, setup in _BUSINESS:
        if status == 400 and code != "H267":  # noqa: PLR2004 - those that depend on the record
            yield case(
                title, item(code), *setup, submit_batch(consent(**changed), version=version), done
            )
    yield case(
        "citizen's opt-out while it waited",
        item("H178"),
        save_consent(),
        submit_batch(consent(consentDate="$minuteAgo"), version=version),
        citizen_change(),
        done,
    )
    if endpoint is ep.RESULT_V2:
        yield case(
            "the same consent in a second batch",
            success(
                200,
                {
                    "0.status": "success",
                    "0.isAddConsentV2Service": "true",
                    "0.originalRequestInformation.requestId": ...,
                },
            ),
            submit_batch(consent(), version=version),
            done,
            submit_batch(consent(), version=version),
            done,
        )
    yield case("an unknown request", success(200), request="5a2edd8e-dd6e-4293-b09b-6180b2c5d021")
    yield case("requestId too long", refusal("H198", 422, "requestId"), request="a1" * 19)
    yield case("letters only", refusal("H199", 422, "requestId"), request="abcdef")
    yield case("digits only", refusal("H400", 422, "requestId"), request="123456")
