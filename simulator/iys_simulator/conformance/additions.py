"""Cases of adding consents: one at once, and lists for later with their results; V1 and V2."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import LEFT_OUT, Case, Expected, Operation, Step
from iys_simulator.conformance.wording import (
    answers,
    batch,
    brand,
    citizen,
    consent,
    later,
    refuses,
    saved,
)

_SINGLES: Final = (op.ADD, op.ADD_V2)
_LISTS: Final = (op.BATCH, op.BATCH_V2)
_RESULTS: Final = ((op.RESULT, ""), (op.RESULT_V2, "/v2"))
_RESULT_DELAY: Final = 301.0
_TACIR: Final = {"recipientType": "TACIR", "source": LEFT_OUT, "consentDate": LEFT_OUT}

Row = tuple[str, dict[str, object], str, str | None]

FIELD_FAULTS: Final[tuple[Row, ...]] = (
    # What is wrong, the changed fields, the code, its location.
    ("no status", {"status": LEFT_OUT}, "H110", "status"),
    ("no type", {"type": LEFT_OUT}, "H111", "type"),
    ("no date", {"consentDate": LEFT_OUT}, "H112", "consentDate"),
    ("no source", {"source": LEFT_OUT}, "H113", "source"),
    ("no address", {"recipient": LEFT_OUT}, "H114", "recipient"),
    ("a status that is none", {"status": "EVET"}, "H115", "status"),
    ("a recipient type that is none", {"recipientType": "KURUMSAL"}, "H116", "recipientType"),
    ("a type that is none", {"type": "SMS"}, "H117", "type"),
    ("a field İYS does not know", {"colour": "blue"}, "H118", None),
    ("a source only İYS may set", {"source": "IYS_WEB"}, "H119", "source"),
    ("no e-mail address", {"type": "EPOSTA", "recipient": "a@b"}, "H120", "recipient"),
    ("no phone number", {"recipient": "05550000001"}, "H121", "recipient"),
    ("neither phone nor e-mail, and no type", {"type": LEFT_OUT, "recipient": "x"}, "H122", None),
    ("a phone that is too long", {"recipient": "9055436100000000"}, "H160", "recipient"),
    ("too many retailers", {"retailerAccess": [1] * 3001}, "H126", "retailerAccess"),
    ("an empty list of retailers", {"retailerAccess": []}, "H163", "retailerAccess"),
    (
        "HS_2015 with another date",
        {"source": "HS_2015", "consentDate": "$yesterday"},
        "H155",
        "consentDate",
    ),
    ("before 1 May 2015", {"consentDate": "2014-12-31 10:00:00"}, "H156", "consentDate"),
    ("no date of the calendar", {"consentDate": "2020-15-01 10:00:00"}, "H157", "consentDate"),
    ("a date in another form", {"consentDate": "01.02.2020 10:00"}, "H158", "consentDate"),
    ("a date ahead of now", {"consentDate": "$tomorrow"}, "H162", "consentDate"),
    (
        "taken more than three business days ago",
        {"consentDate": "$monthAgo"},
        "H467",
        "consentDate",
    ),
    ("HS_KARAR as an approval", {"source": "HS_KARAR"}, "H408", "status"),
)

_BUSINESS: Final[tuple[tuple[str, str, int, dict[str, object], tuple[Step, ...]], ...]] = (
    # What is wrong, the code and its status, the changed fields, what stands before.
    (
        "a rejection of what is rejected",
        "H174",
        400,
        {"status": "RET", "consentDate": "$now"},
        (saved(consentDate="$yesterday"), saved(status="RET", consentDate="$minuteAgo")),
    ),
    ("a rejection as the first record", "H175", 400, {"status": "RET"}, ()),
    ("older than the record", "H178", 400, {}, (saved(consentDate="$minuteAgo"),)),
    ("as old as the record", "H178", 400, {"source": "HS_MOBIL"}, (saved(),)),
    ("older than a citizen's rejection", "H178", 400, {}, (saved(), citizen())),
    (
        "a trader's update without a date",
        "H462",
        400,
        {"recipientType": "TACIR", "consentDate": LEFT_OUT},
        (saved(recipientType="TACIR"),),
    ),
    (
        "a trader's update without a source",
        "H463",
        400,
        {"recipientType": "TACIR", "source": LEFT_OUT, "consentDate": "$now"},
        (saved(recipientType="TACIR"),),
    ),
    ("HS_KARAR as the first record", "H486", 400, {"source": "HS_KARAR", "status": "RET"}, ()),
    ("a brand that is full", "H525", 422, {}, (brand(consentLimit=0),)),
    ("a type the account may not write", "H353", 403, {}, (brand(rights={"ARAMA": "write"}),)),
    ("a retailer that is not the brand's", "H180", 403, {"retailerCode": 1}, ()),
    ("access for one that is not the brand's", "H180", 403, {"retailerAccess": [1]}, ()),
    ("an empty retailer", "H267", 400, {"retailerCode": ""}, ()),
)


def cases() -> Iterator[Case]:
    """Give the cases of adding."""
    for operation in _SINGLES:
        yield from _of_singles(operation)
    for operation in _LISTS:
        yield from _of_lists(operation)
    for operation, version in _RESULTS:
        yield from _of_results(operation, version)


def _of_singles(operation: Operation) -> Iterator[Case]:
    def case(what: str, body: object, expected: Expected, *given: Step) -> Case:
        return Case(operation=operation, what=what, body=body, expected=expected, given=given)

    done = answers(200, {"transactionId": ..., "creationDate": ...})
    yield case("a first approval", consent(), done)
    yield case("a rejection", consent(status="RET", consentDate="$now"), done, saved())
    yield case("a newer approval of what is approved", consent(consentDate="$now"), done, saved())
    yield case("an e-mail address", consent(type="EPOSTA", recipient="$email"), done)
    yield case("a call", consent(type="ARAMA"), done)
    yield case("a trader without date and source", consent(**_TACIR), done)
    yield case("no recipient type: BIREYSEL", consent(recipientType=LEFT_OUT), done)
    yield case(
        "HS_KARAR over an approval",
        consent(source="HS_KARAR", status="RET", consentDate="$now"),
        done,
        saved(),
    )
    yield case(
        "an old date before the brand's activation",
        consent(consentDate="$monthAgo"),
        done,
        brand(activatedAt=None),
    )
    for what, changed, code, location in FIELD_FAULTS:
        where = (location,) if location else ()
        yield case(what, consent(**changed), refuses(code, 422, *where))
    for what, code, status, changed, given in _BUSINESS:
        yield case(what, consent(**changed), refuses(code, status), *given)
    yield case("a list in place of a consent", [consent()], refuses("H085", 400))
    yield case("no JSON", b"{", refuses("H014", 400))
    again = operation is op.ADD_V2
    yield case(
        "the same request once more",
        consent(),
        answers(200, {"transactionId": "$transactionId"}) if again else refuses("H178", 400),
        Step(
            method="POST",
            path=operation.path.replace("{", "$").replace("}", ""),
            body=consent(),
            keeps={"transactionId": "transactionId"},
        ),
    )


def _of_lists(operation: Operation) -> Iterator[Case]:
    def case(what: str, body: object, expected: Expected, *given: Step) -> Case:
        return Case(operation=operation, what=what, body=body, expected=expected, given=given)

    yield case(
        "two consents",
        [consent(), consent(recipient="$otherPhone")],
        answers(202, {"requestId": ..., "subRequests.1.recipient": "$otherPhone"}),
    )
    yield case("a rejection is taken in", [consent(status="RET")], answers(202))
    for what, changed, code, location in FIELD_FAULTS:
        where = (location,) if location else ()
        items = [consent(recipient="$otherPhone"), consent(**changed)]
        yield case(f"{what}, in the second item", items, refuses(code, 422, *where, index=1))
    yield case("no list", consent(), refuses("H092", 400))
    yield case("an empty list", [], refuses("H092", 400))
    yield case("no JSON", b"[", refuses("H014", 400))
    yield case("more than a thousand", [consent()] * 1001, refuses("H091", 422))
    yield case("the same address twice", [consent(), consent()], refuses("H194", 422, index=1))
    yield case(
        "a retailer that is not the brand's, in the second item",
        [consent(recipient="$otherPhone"), consent(retailerCode=1)],
        refuses("H180", 403, "retailerCode", index=1),
    )
    yield case(
        "access for one that is not the brand's",
        [consent(retailerAccess=[1])],
        refuses("H180", 403, "retailerAccess", 0, index=0),
    )
    yield case("an empty retailer", [consent(retailerCode="")], refuses("H267", 400))
    yield case(
        "a type the account may not write",
        [consent()],
        refuses("H353", 403),
        brand(rights={"ARAMA": "write"}),
    )
    yield case("a brand that is full", [consent()], refuses("H525", 422), brand(consentLimit=0))


def _of_results(operation: Operation, version: str) -> Iterator[Case]:
    def case(what: str, expected: Expected, *given: Step, request: str = "$requestId") -> Case:
        return Case(
            operation=operation,
            what=what,
            expected=expected,
            at={"requestId": request},
            given=given,
        )

    def item(code: str) -> Expected:
        return answers(200, {"0.status": "failure", "0.error.code": code, "0.subRequestId": ...})

    done = later(_RESULT_DELAY)
    yield case(
        "a success",
        answers(200, {"0.status": "success", "0.transactionId": ..., "0.creationDate": ...}),
        batch(consent(), version=version),
        done,
    )
    yield case(
        "one that waits",
        answers(200, {"0.status": "enqueue", "0.subrequestId": ...}),
        batch(consent(), version=version),
        later(_RESULT_DELAY / 2 + 10),
    )
    yield case("asked at once", answers(200), batch(consent(), version=version))
    for what, code, status, changed, given in _BUSINESS:
        if status == 400 and code != "H267":  # noqa: PLR2004 - those judged by the stored record
            yield case(what, item(code), *given, batch(consent(**changed), version=version), done)
    yield case(
        "overtaken by a citizen while it waited",
        item("H178"),
        saved(),
        batch(consent(consentDate="$minuteAgo"), version=version),
        citizen(),
        done,
    )
    if operation is op.RESULT_V2:
        yield case(
            "the same consent in a second batch",
            answers(
                200,
                {
                    "0.status": "success",
                    "0.isAddConsentV2Service": "true",
                    "0.originalRequestInformation.requestId": ...,
                },
            ),
            batch(consent(), version=version),
            done,
            batch(consent(), version=version),
            done,
        )
    yield case("an unknown request", answers(200), request="5a2edd8e-dd6e-4293-b09b-6180b2c5d021")
    yield case("a name that is too long", refuses("H198", 422, "requestId"), request="a1" * 19)
    yield case("letters only", refuses("H199", 422, "requestId"), request="abcdef")
    yield case("digits only", refuses("H400", 422, "requestId"), request="123456")
