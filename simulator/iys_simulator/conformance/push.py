"""Cases of push: registration with its test calls, the list, unregistration."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    change_settings,
    define_brand,
    refusal,
    success,
    without_omitted,
)
from iys_simulator.conformance.case import OMITTED, Case, Expected, Step

_REGISTRATION: Final = "/sps/$iysCode/brands/$brandCode/push/registration"
_OPEN_TO_HTTP: Final = change_settings(pushHttpsRequired=False)
_UNREACHABLE: Final = "http://127.0.0.1:1/push"

_FIELDS: Final = (
    # Title, changed fields, code, location.
    ("missing type", {"type": OMITTED}, "H111", "type"),
    ("invalid type", {"type": "SMS"}, "H117", "type"),
    ("no user name", {"username": OMITTED}, "H093", "username"),
    ("no password", {"password": OMITTED}, "H093", "password"),
    ("missing recipient or address", {"url": OMITTED}, "H531", "url"),
)


def connection(**changed: object) -> dict[str, object]:
    """Return a valid push connection with `changed` fields."""
    item = {"url": "$receiver", "type": "MESAJ", "username": "receiver", "password": "fake"}
    return without_omitted({**item, **changed})


def cases() -> Iterator[Case]:
    """Yield the cases of push."""
    yield from _of_registration()
    yield from _of_the_rest()


def _registered(**changed: object) -> Step:
    return Step(method="POST", path=_REGISTRATION, body={"connection": [connection(**changed)]})


def _of_registration() -> Iterator[Case]:
    def case(title: str, expected: Expected, *setup: Step, **changed: object) -> Case:
        return Case(
            endpoint=ep.PUSH_REGISTER,
            title=title,
            expected=expected,
            body={"connection": [connection(**changed)]},
            setup=setup,
        )

    done = success(200, {"message": "Bağlantı oluşturuldu"})
    yield case("working address", done, define_brand(), _OPEN_TO_HTTP)
    for title, changed, code, location in _FIELDS:
        expected = refusal(code, 422, location)
        yield case(title, expected, **{"url": "https://push.example.com", **changed})
    yield case("http where https is required", refusal("H531", 422), url=_UNREACHABLE)
    yield case("unreachable address", refusal("H530", 422), _OPEN_TO_HTTP, url=_UNREACHABLE)
    anybody = "$receiver/anybody"
    yield case("address without authentication", refusal("H530", 422), _OPEN_TO_HTTP, url=anybody)
    slow = change_settings(pushHttpsRequired=False, pushTimeout=0.05)
    yield case("address that does not respond", refusal("H191", 422), slow, url="$receiver/silent")
    yield case(
        "a third address of a type",
        refusal("H530", 422),
        define_brand(),
        _OPEN_TO_HTTP,
        _registered(url="$receiver/1"),
        _registered(url="$receiver/2"),
    )
    for endpoint in (ep.PUSH_REGISTER, ep.PUSH_UNREGISTER):
        expected = refusal("H014", 400)
        yield Case(endpoint=endpoint, title="no JSON", expected=expected, body=b"{")


def _of_the_rest() -> Iterator[Case]:
    yield Case(
        endpoint=ep.PUSH_LIST,
        title="active connection",
        expected=success(200, {"0.type": "MESAJ", "0.status": "Bağlantı Oluşturuldu"}),
        setup=(define_brand(), _OPEN_TO_HTTP, _registered()),
    )
    yield Case(
        endpoint=ep.PUSH_LIST, title="no connection", expected=success(200), setup=(define_brand(),)
    )
    yield Case(
        endpoint=ep.PUSH_UNREGISTER,
        title="active connection",
        expected=success(200, {"message": "Bağlantı Kaldırıldı"}),
        body=connection(),
        setup=(define_brand(), _OPEN_TO_HTTP, _registered()),
    )
    for title, changed, code, location in _FIELDS:
        yield Case(
            endpoint=ep.PUSH_UNREGISTER,
            title=title,
            expected=refusal(code, 422, location),
            body=connection(**{"url": "https://push.example.com", **changed}),
        )
    yield Case(
        endpoint=ep.PUSH_UNREGISTER,
        title="http where https is required",
        expected=refusal("H531", 422),
        body=connection(url=_UNREACHABLE),
    )
    yield Case(
        endpoint=ep.PUSH_UNREGISTER,
        title="unknown connection",
        expected=refusal("H530", 422),
        body=connection(url="https://push.example.com"),
    )
