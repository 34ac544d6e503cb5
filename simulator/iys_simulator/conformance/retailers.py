"""Cases of retailers, and of which retailers may use a consent."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import LEFT_OUT, Case, Expected, Step
from iys_simulator.conformance.queries import ADDRESS_FIELDS, PAGING
from iys_simulator.conformance.wording import (
    CONSENTS,
    address,
    answers,
    asking,
    brand,
    refuses,
    saved,
    sent,
)

_PATH: Final = "/sps/$iysCode/brands/$brandCode/retailers"
_VKN: Final = "8450525470"  # of İYS's own example; both numbers pass their check digits
_TCKN: Final = "10000000146"
_UNKNOWN: Final = 10_000_001
_CITY: Final = {"code": "34", "name": "İstanbul"}
_TOWN: Final = {"code": "01", "name": "Kadıköy"}

_FIELDS: Final[tuple[tuple[str, dict[str, object], str], ...]] = (
    # What is wrong, the changed fields, the code.
    ("a field İYS does not know", {"colour": "blue"}, "H016"),
    ("a title that is too long", {"title": "a" * 256}, "H017"),
    ("a state that is none", {"status": "asleep"}, "H201"),
    ("no title", {"title": LEFT_OUT}, "H214"),
    ("no name", {"name": LEFT_OUT}, "H215"),
    ("no TCKN", {"tckn": LEFT_OUT}, "H216"),
    ("no city", {"city": LEFT_OUT}, "H217"),
    ("a city without its code", {"city": {"name": "İstanbul"}}, "H218"),
    ("a city without its name", {"city": {"code": "34"}}, "H219"),
    ("no town", {"town": LEFT_OUT}, "H220"),
    ("a town without its code", {"town": {"name": "Kadıköy"}}, "H221"),
    ("a town without its name", {"town": {"code": "01"}}, "H222"),
    ("no phone number", {"mobile": "0555"}, "H224"),
    ("a TCKN with a wrong check digit", {"tckn": "10000000147"}, "H225"),
    ("a TCKN that is too short", {"tckn": "1000000014"}, "H226"),
    ("a MERSİS number with a wrong VKN", {"mersis": "0845052547100001"}, "H227"),
    ("a MERSİS number that is too short", {"mersis": "084505254700001"}, "H228"),
    ("a title that is no word", {"title": "#?!"}, "H229"),
    ("a VKN with a wrong check digit", {"tin": "8450525471"}, "H243"),
    ("a tax number that is too short", {"tin": "845052547"}, "H244"),
    ("no tax number", {"tin": LEFT_OUT}, "H288"),
)


def retailer(**changed: object) -> dict[str, object]:
    """Give a retailer that is right, with `changed` fields."""
    item = {
        "title": "Örnek Ticaret",
        "name": "Örnek Yetkili",
        "tckn": _TCKN,
        "tin": _VKN,
        "city": _CITY,
        "town": _TOWN,
        **changed,
    }
    return sent(item)


WHOLE: Final = {"mersis": "0845052547000001", "alias": "Şube", "mobile": "$otherPhone"}
"""What may be told of a retailer beside what must be."""


def cases() -> Iterator[Case]:
    """Give the cases of retailers and their access."""
    yield from _of_retailers()
    yield from _of_one_access()
    yield from _of_lists()


def _added(**changed: object) -> Step:
    keeps = {"added": "retailerCode"}
    return Step(method="POST", path=_PATH, body=retailer(**changed), keeps=keeps)


def _of_retailers() -> Iterator[Case]:
    def adding(what: str, expected: Expected, *given: Step, **changed: object) -> Case:
        return asking(op.RETAILER_ADD, what, expected, *given, body=retailer(**changed))

    mersis = {"mersis": WHOLE["mersis"]}
    yield adding("a retailer", answers(201, {"retailerCode": ...}), brand(), **WHOLE)
    for what, changed, code in _FIELDS:
        yield adding(what, refuses(code, 400), **changed)
    other = {"tckn": "10000000214"}
    again = adding("a MERSİS number twice", refuses("H230", 400), brand(), _added(**mersis))
    yield asking(
        op.RETAILER_ADD, again.what, again.expected, *again.given, body=retailer(**mersis, **other)
    )
    yield adding("a TCKN twice", refuses("H231", 400), brand(), _added())
    yield adding("a TCKN of a passive one", refuses("H253", 400), brand(), _added(status="passive"))
    yield asking(op.RETAILER_ADD, "no JSON", refuses("H014", 400), body=b"{")

    page = {"pagination.totalCount": 1, "list.0.retailerCode": "$retailer"}
    listed = answers(200, {"pagination.totalCount": 1, "list.0.alias": "Şube"})
    only = (brand(retailers=[]), _added(**WHOLE))
    yield asking(op.RETAILER_LIST, "the brand's retailers", listed, *only)
    yield asking(op.RETAILER_LIST, "short", answers(200, page), brand(), query={"short": "true"})
    for what, query, code, location in (
        *PAGING,
        ("a limit that is no number", {"limit": "x"}, "H183", "limit"),
        ("an offset that is no number", {"offset": "x"}, "H182", "offset"),
        ("all that is no flag", {"all": "x"}, "H184", "all"),
        ("short that is no flag", {"short": "x"}, "H185", "short"),
    ):
        yield asking(op.RETAILER_LIST, what, refuses(code, 422, location), query=query)

    at, unknown = {"retailerCode": "$added"}, {"retailerCode": _UNKNOWN}
    whole = answers(200, {"title": "Örnek Ticaret", "retailerAccessCount": 0, "city.code": "34"})
    yield asking(op.RETAILER_GET, "a retailer", whole, brand(), _added(**WHOLE), at=at)
    yield asking(op.RETAILER_GET, "one that is unknown", answers(200), at=unknown)
    yield asking(op.RETAILER_DELETE, "a retailer", answers(200), brand(), _added(), at=at)
    yield asking(op.RETAILER_DELETE, "one that is unknown", refuses("H058", 404), at=unknown)
    yield asking(
        op.RETAILER_DELETE,
        "one that a consent names",
        refuses("H061", 500),
        brand(),
        saved(retailerCode="$retailer"),
        at={"retailerCode": "$retailer"},
    )


def _of_one_access() -> Iterator[Case]:
    def adding(what: str, expected: Expected, *given: Step, **changed: object) -> Case:
        body = address(**{"retailerAccess": ["$retailer"], **changed})
        return asking(op.ACCESS_ADD, what, expected, *given, body=body)

    yield adding("a consent", answers(200, {"transactionId": ..., "creationDate": ...}), saved())
    yield adding("no consent", refuses("H401", 400))
    for what, changed, code, location in ADDRESS_FIELDS:
        yield adding(what, refuses(code, 422, location), **changed)
    for what, changed, code, location in _RETAILERS:
        yield adding(what, refuses(code, 422, location), **changed)
    yield adding("one that is not the brand's", refuses("H180", 403), retailerAccess=[_UNKNOWN])
    yield asking(op.ACCESS_ADD, "a list", refuses("H090", 400), body=[])

    def listing(what: str, expected: Expected, *given: Step, **query: object) -> Case:
        return asking(op.ACCESS_LIST, what, expected, *given, body=address(), query=query)

    first = {"list.0.retailerCode": "$retailer", "pagination.totalCount": 1}
    yield listing("who may use a consent", answers(200, first), saved(retailerCode="$retailer"))
    whole = answers(200, {"list.0.retailerCode": "$added", "list.0.name": "Örnek Yetkili"})
    with_all = (brand(), _added(**WHOLE), saved(retailerCode="$added"))
    yield listing("all that is told of one", whole, *with_all)
    for what, changed, code, location in ADDRESS_FIELDS:
        expected = refuses(code, 422, location)
        yield asking(op.ACCESS_LIST, what, expected, body=address(**changed))
    for what, query, code, location in (
        *PAGING,
        ("an offset that is no number", {"offset": "x"}, "H182", "offset"),
    ):
        yield listing(what, refuses(code, 422, location), **query)
    yield asking(op.ACCESS_LIST, "a list", refuses("H173", 400), body=[])
    yield asking(op.ACCESS_LIST, "no JSON", refuses("H014", 400), body=b"{")


_RETAILERS: Final[tuple[tuple[str, dict[str, object], str, str], ...]] = (
    ("no retailers", {"retailerAccess": LEFT_OUT}, "H169", "retailerAccess"),
    ("an empty list of retailers", {"retailerAccess": []}, "H163", "retailerAccess"),
    ("more than a hundred retailers", {"retailerAccess": [1] * 101}, "H126", "retailerAccess"),
)
_RECIPIENTS: Final[tuple[tuple[str, dict[str, object], str, tuple[object, ...]], ...]] = (
    ("no type", {"type": LEFT_OUT}, "H111", ("type",)),
    ("a type that is none", {"type": "SMS"}, "H117", ("type",)),
    ("no recipient type", {"recipientType": LEFT_OUT}, "H170", ("recipientType",)),
    ("a recipient type that is none", {"recipientType": "X"}, "H116", ("recipientType",)),
    ("no addresses", {"recipients": LEFT_OUT}, "H168", ("recipients",)),
    ("a text for a list", {"recipients": "x"}, "H478", ("recipients",)),
    ("an empty list", {"recipients": []}, "H164", ("recipients",)),
    ("more than a hundred addresses", {"recipients": ["$phone"] * 101}, "H127", ("recipients",)),
    ("no phone number", {"recipients": ["0555"]}, "H121", ("recipients", 0)),
    ("a phone that is too long", {"recipients": ["+905555555555555"]}, "H166", ("recipients", 0)),
    (
        "no e-mail address",
        {"type": "EPOSTA", "recipients": ["a@b"]},
        "H120",
        ("recipients", 0),
    ),
)


def _of_lists() -> Iterator[Case]:
    invalid = {op.ACCESS_REPLACE: "H171", op.ACCESS_REMOVE: "H172", op.ACCESS_REMOVE_ALL: "H172"}
    for operation, code_of_a_list in invalid.items():
        names_retailers = operation is not op.ACCESS_REMOVE_ALL
        usual: dict[str, object] = {
            "type": "MESAJ",
            "recipientType": "BIREYSEL",
            "recipients": ["$phone"],
            **({"retailerAccess": ["$retailer"]} if names_retailers else {}),
        }
        taken = saved(retailerCode="$retailer")
        yield asking(operation, "a consent", answers(202), taken, body=usual)
        rows = (
            *_RECIPIENTS,
            *((what, changed, code, (at,)) for what, changed, code, at in _RETAILERS),
        )
        for what, changed, code, location in rows:
            if "retailerAccess" in changed and not names_retailers:
                continue
            expected = refuses(code, 422, *location)
            yield asking(operation, what, expected, body=sent({**usual, **changed}))
        if names_retailers:
            unknown = {**usual, "retailerAccess": [_UNKNOWN]}
            what = "one that is not the brand's"
            yield asking(operation, what, refuses("H180", 403), body=unknown)
        yield asking(operation, "a list", refuses(code_of_a_list, 400), body=[])
        yield asking(operation, "no JSON", refuses("H014", 400), body=b"{")
    yield asking(
        op.ACCESS_LIST,
        "nobody may use it any more",
        answers(200, {"pagination.totalCount": 0}),
        saved(retailerCode="$retailer"),
        Step(
            method="POST",
            path=f"{CONSENTS}/retailers/access/remove/all",
            body={"type": "MESAJ", "recipientType": "BIREYSEL", "recipients": ["$phone"]},
        ),
        body=address(),
    )
