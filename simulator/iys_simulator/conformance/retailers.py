"""Cases of retailers and their access to consents."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    CONSENTS,
    consent_key,
    define_brand,
    refusal,
    request_case,
    save_consent,
    success,
    without_omitted,
)
from iys_simulator.conformance.case import OMITTED, Case, Expected, Step
from iys_simulator.conformance.queries import ADDRESS_FIELDS, PAGING

_PATH: Final = "/sps/$iysCode/brands/$brandCode/retailers"
_VKN: Final = "8450525470"  # of İYS's own example; both numbers pass their check digits
_TCKN: Final = "10000000146"
_UNKNOWN: Final = 10_000_001
_CITY: Final = {"code": "34", "name": "İstanbul"}
_TOWN: Final = {"code": "01", "name": "Kadıköy"}

_FIELDS: Final[tuple[tuple[str, dict[str, object], str], ...]] = (
    # Title, changed fields, code.
    ("unknown field", {"colour": "blue"}, "H016"),
    ("a title that is too long", {"title": "a" * 256}, "H017"),
    ("invalid state", {"status": "asleep"}, "H201"),
    ("no title", {"title": OMITTED}, "H214"),
    ("no name", {"name": OMITTED}, "H215"),
    ("no TCKN", {"tckn": OMITTED}, "H216"),
    ("no city", {"city": OMITTED}, "H217"),
    ("a city without its code", {"city": {"name": "İstanbul"}}, "H218"),
    ("a city without its name", {"city": {"code": "34"}}, "H219"),
    ("no town", {"town": OMITTED}, "H220"),
    ("a town without its code", {"town": {"name": "Kadıköy"}}, "H221"),
    ("a town without its name", {"town": {"code": "01"}}, "H222"),
    ("invalid phone number", {"mobile": "0555"}, "H224"),
    ("a TCKN with a wrong check digit", {"tckn": "10000000147"}, "H225"),
    ("a TCKN that is too short", {"tckn": "1000000014"}, "H226"),
    ("a MERSİS number with a wrong VKN", {"mersis": "0845052547100001"}, "H227"),
    ("a MERSİS number that is too short", {"mersis": "084505254700001"}, "H228"),
    ("title without letters or digits", {"title": "#?!"}, "H229"),
    ("a VKN with a wrong check digit", {"tin": "8450525471"}, "H243"),
    ("a tax number that is too short", {"tin": "845052547"}, "H244"),
    ("no tax number", {"tin": OMITTED}, "H288"),
)


def retailer(**changed: object) -> dict[str, object]:
    """Return a valid retailer with `changed` fields."""
    item = {
        "title": "Örnek Ticaret",
        "name": "Örnek Yetkili",
        "tckn": _TCKN,
        "tin": _VKN,
        "city": _CITY,
        "town": _TOWN,
        **changed,
    }
    return without_omitted(item)


WHOLE: Final = {"mersis": "0845052547000001", "alias": "Şube", "mobile": "$otherPhone"}
"""The optional fields of a retailer."""


def cases() -> Iterator[Case]:
    """Yield the cases of retailers and their access."""
    yield from _of_adding()
    yield from _of_listing()
    yield from _of_one_retailer()
    yield from _of_one_access()
    yield from _of_lists()


def _added(**changed: object) -> Step:
    saves = {"added": "retailerCode"}
    return Step(method="POST", path=_PATH, body=retailer(**changed), saves=saves)


def _of_adding() -> Iterator[Case]:
    def adding(title: str, expected: Expected, /, *setup: Step, **changed: object) -> Case:
        return request_case(ep.RETAILER_ADD, title, expected, *setup, body=retailer(**changed))

    mersis = {"mersis": WHOLE["mersis"]}
    yield adding("a retailer", success(201, {"retailerCode": ...}), define_brand(), **WHOLE)
    yield adding(
        "a MERSİS number that lost its zeros as a JSON number",
        success(201, {"retailerCode": ...}),
        define_brand(),
        mersis=12345678901,
    )
    for title, changed, code in _FIELDS:
        yield adding(title, refusal(code, 400), **changed)
    other = {"tckn": "10000000214"}
    again = adding("a MERSİS number twice", refusal("H230", 400), define_brand(), _added(**mersis))
    yield request_case(
        ep.RETAILER_ADD, again.title, again.expected, *again.setup, body=retailer(**mersis, **other)
    )
    yield adding("a TCKN twice", refusal("H231", 400), define_brand(), _added())
    yield adding(
        "a TCKN of a passive one", refusal("H253", 400), define_brand(), _added(status="passive")
    )
    yield request_case(ep.RETAILER_ADD, "no JSON", refusal("H014", 400), body=b"{")


def _of_listing() -> Iterator[Case]:
    page = {"pagination.totalCount": 1, "list.0.retailerCode": "$retailer"}
    listed = success(200, {"pagination.totalCount": 1, "list.0.alias": "Şube"})
    only = (define_brand(retailers=[]), _added(**WHOLE))
    yield request_case(ep.RETAILER_LIST, "the brand's retailers", listed, *only)
    yield request_case(
        ep.RETAILER_LIST, "short", success(200, page), define_brand(), query={"short": "true"}
    )
    for title, query, code, _ in (
        *PAGING,
        ("limit that is not a number", {"limit": "x"}, "H183", "limit"),
        ("offset that is not a number", {"offset": "x"}, "H182", "offset"),
        ("all: invalid value", {"all": "x"}, "H184", "all"),
        ("short: invalid value", {"short": "x"}, "H185", "short"),
    ):
        yield request_case(ep.RETAILER_LIST, title, refusal(code, 400), query=query)


def _of_one_retailer() -> Iterator[Case]:
    path_params, unknown = {"retailerCode": "$added"}, {"retailerCode": _UNKNOWN}
    whole = success(200, {"title": "Örnek Ticaret", "retailerAccessCount": 0, "city.code": "34"})
    yield request_case(
        ep.RETAILER_GET,
        "a retailer",
        whole,
        define_brand(),
        _added(**WHOLE),
        path_params=path_params,
    )
    yield request_case(ep.RETAILER_GET, "one that is unknown", success(200), path_params=unknown)
    yield request_case(
        ep.RETAILER_DELETE,
        "a retailer",
        success(200),
        define_brand(),
        _added(),
        path_params=path_params,
    )
    yield request_case(
        ep.RETAILER_DELETE, "one that is unknown", refusal("H058", 404), path_params=unknown
    )
    yield request_case(
        ep.RETAILER_DELETE,
        "one that a consent names",
        refusal("H061", 500),
        define_brand(),
        save_consent(retailerCode="$retailer"),
        path_params={"retailerCode": "$retailer"},
    )


def _of_one_access() -> Iterator[Case]:
    def adding(title: str, expected: Expected, /, *setup: Step, **changed: object) -> Case:
        body = consent_key(**{"retailerAccess": ["$retailer"], **changed})
        return request_case(ep.ACCESS_ADD, title, expected, *setup, body=body)

    yield adding(
        "a consent", success(200, {"transactionId": ..., "creationDate": ...}), save_consent()
    )
    yield adding("no consent", refusal("H401", 400))
    for title, changed, code, location in ADDRESS_FIELDS:
        yield adding(title, refusal(code, 422, location), **changed)
    for title, changed, code, location in _RETAILERS:
        yield adding(title, refusal(code, 422, location), **changed)
    yield adding("unknown retailer", refusal("H180", 403), retailerAccess=[_UNKNOWN])
    yield request_case(ep.ACCESS_ADD, "a list", refusal("H090", 400), body=[])

    def listing(title: str, expected: Expected, *setup: Step, **query: object) -> Case:
        return request_case(
            ep.ACCESS_LIST, title, expected, *setup, body=consent_key(), query=query
        )

    first = {"list.0.retailerCode": "$retailer", "pagination.totalCount": 1}
    yield listing(
        "retailers of a consent", success(200, first), save_consent(retailerCode="$retailer")
    )
    whole = success(200, {"list.0.retailerCode": "$added", "list.0.name": "Örnek Yetkili"})
    with_all = (define_brand(), _added(**WHOLE), save_consent(retailerCode="$added"))
    yield listing("all fields of a retailer", whole, *with_all)
    for title, changed, code, location in ADDRESS_FIELDS:
        expected = refusal(code, 422, location)
        yield request_case(ep.ACCESS_LIST, title, expected, body=consent_key(**changed))
    for title, query, code, location in (
        *PAGING,
        ("offset that is not a number", {"offset": "x"}, "H182", "offset"),
    ):
        yield listing(title, refusal(code, 422, location), **query)
    yield request_case(ep.ACCESS_LIST, "a list", refusal("H173", 400), body=[])
    yield request_case(ep.ACCESS_LIST, "no JSON", refusal("H014", 400), body=b"{")


_RETAILERS: Final[tuple[tuple[str, dict[str, object], str, str], ...]] = (
    ("no retailers", {"retailerAccess": OMITTED}, "H169", "retailerAccess"),
    ("empty list of retailers", {"retailerAccess": []}, "H163", "retailerAccess"),
    ("more than a hundred retailers", {"retailerAccess": [1] * 101}, "H126", "retailerAccess"),
)
_RECIPIENTS: Final[tuple[tuple[str, dict[str, object], str, tuple[object, ...]], ...]] = (
    ("missing type", {"type": OMITTED}, "H111", ("type",)),
    ("invalid type", {"type": "SMS"}, "H117", ("type",)),
    ("no recipient type", {"recipientType": OMITTED}, "H170", ("recipientType",)),
    ("invalid recipient type", {"recipientType": "X"}, "H116", ("recipientType",)),
    ("missing recipients", {"recipients": OMITTED}, "H168", ("recipients",)),
    ("text instead of a list", {"recipients": "x"}, "H478", ("recipients",)),
    ("an empty list", {"recipients": []}, "H164", ("recipients",)),
    ("more than a hundred addresses", {"recipients": ["$phone"] * 101}, "H127", ("recipients",)),
    ("invalid phone number", {"recipients": ["0555"]}, "H121", ("recipients", 0)),
    ("phone number too long", {"recipients": ["+905555555555555"]}, "H166", ("recipients", 0)),
    (
        "invalid e-mail address",
        {"type": "EPOSTA", "recipients": ["a@b"]},
        "H120",
        ("recipients", 0),
    ),
)


def _of_lists() -> Iterator[Case]:
    invalid = {ep.ACCESS_REPLACE: "H171", ep.ACCESS_REMOVE: "H172", ep.ACCESS_REMOVE_ALL: "H172"}
    for endpoint, code_of_a_list in invalid.items():
        names_retailers = endpoint is not ep.ACCESS_REMOVE_ALL
        usual: dict[str, object] = {
            "type": "MESAJ",
            "recipientType": "BIREYSEL",
            "recipients": ["$phone"],
            **({"retailerAccess": ["$retailer"]} if names_retailers else {}),
        }
        taken = save_consent(retailerCode="$retailer")
        yield request_case(endpoint, "a consent", success(202), taken, body=usual)
        rows = (
            *_RECIPIENTS,
            *(
                (title, changed, code, (path_params,))
                for title, changed, code, path_params in _RETAILERS
            ),
        )
        for title, changed, code, location in rows:
            if "retailerAccess" in changed and not names_retailers:
                continue
            expected = refusal(code, 422, *location)
            yield request_case(
                endpoint, title, expected, body=without_omitted({**usual, **changed})
            )
        if names_retailers:
            unknown = {**usual, "retailerAccess": [_UNKNOWN]}
            title = "unknown retailer"
            yield request_case(endpoint, title, refusal("H180", 403), body=unknown)
        yield request_case(endpoint, "a list", refusal(code_of_a_list, 400), body=[])
        yield request_case(endpoint, "no JSON", refusal("H014", 400), body=b"{")
    yield request_case(
        ep.ACCESS_LIST,
        "no retailer left",
        success(200, {"pagination.totalCount": 0}),
        save_consent(retailerCode="$retailer"),
        Step(
            method="POST",
            path=f"{CONSENTS}/retailers/access/remove/all",
            body={"type": "MESAJ", "recipientType": "BIREYSEL", "recipients": ["$phone"]},
        ),
        body=consent_key(),
    )
