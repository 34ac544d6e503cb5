"""Cases of push: registration with its handshake, what is registered, unregistration."""

from collections.abc import Iterator
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import LEFT_OUT, Case, Expected, Step
from iys_simulator.conformance.wording import answers, brand, refuses, sent, switched

_REGISTRATION: Final = "/sps/$iysCode/brands/$brandCode/push/registration"
_OPEN_TO_HTTP: Final = switched(pushHttpsRequired=False)
_NOBODY_LISTENS: Final = "http://127.0.0.1:1/push"

_FIELDS: Final = (
    # What is wrong, the changed fields, the code, its location.
    ("no type", {"type": LEFT_OUT}, "H111", "type"),
    ("a type that is none", {"type": "SMS"}, "H117", "type"),
    ("no user name", {"username": LEFT_OUT}, "H093", "username"),
    ("no password", {"password": LEFT_OUT}, "H093", "password"),
    ("no address", {"url": LEFT_OUT}, "H531", "url"),
)


def connection(**changed: object) -> dict[str, object]:
    """Give a push connection that is right, with `changed` fields."""
    item = {"url": "$receiver", "type": "MESAJ", "username": "receiver", "password": "fake"}
    return sent({**item, **changed})


def cases() -> Iterator[Case]:
    """Give the cases of push."""
    yield from _of_registration()
    yield from _of_the_rest()


def _registered(**changed: object) -> Step:
    return Step(method="POST", path=_REGISTRATION, body={"connection": [connection(**changed)]})


def _of_registration() -> Iterator[Case]:
    def case(what: str, expected: Expected, *given: Step, **changed: object) -> Case:
        return Case(
            operation=op.PUSH_REGISTER,
            what=what,
            expected=expected,
            body={"connection": [connection(**changed)]},
            given=given,
        )

    done = answers(200, {"message": "Bağlantı oluşturuldu"})
    yield case("an address that behaves", done, brand(), _OPEN_TO_HTTP)
    for what, changed, code, location in _FIELDS:
        expected = refuses(code, 422, location)
        yield case(what, expected, **{"url": "https://push.example.com", **changed})
    yield case("http where https is asked for", refuses("H531", 422), url=_NOBODY_LISTENS)
    yield case("an address nobody has", refuses("H530", 422), _OPEN_TO_HTTP, url=_NOBODY_LISTENS)
    anybody = "$receiver/anybody"
    yield case("an address open to anybody", refuses("H530", 422), _OPEN_TO_HTTP, url=anybody)
    slow = switched(pushHttpsRequired=False, pushTimeout=0.05)
    yield case(
        "an address that does not answer", refuses("H191", 422), slow, url="$receiver/silent"
    )
    yield case(
        "a third address of a type",
        refuses("H530", 422),
        brand(),
        _OPEN_TO_HTTP,
        _registered(url="$receiver/1"),
        _registered(url="$receiver/2"),
    )
    for operation in (op.PUSH_REGISTER, op.PUSH_UNREGISTER):
        expected = refuses("H014", 400)
        yield Case(operation=operation, what="no JSON", expected=expected, body=b"{")


def _of_the_rest() -> Iterator[Case]:
    yield Case(
        operation=op.PUSH_LIST,
        what="a connection that stands",
        expected=answers(200, {"0.type": "MESAJ", "0.status": "Bağlantı Oluşturuldu"}),
        given=(brand(), _OPEN_TO_HTTP, _registered()),
    )
    yield Case(
        operation=op.PUSH_LIST, what="no connection", expected=answers(200), given=(brand(),)
    )
    yield Case(
        operation=op.PUSH_UNREGISTER,
        what="a connection that stands",
        expected=answers(200, {"message": "Bağlantı Kaldırıldı"}),
        body=connection(),
        given=(brand(), _OPEN_TO_HTTP, _registered()),
    )
    for what, changed, code, location in _FIELDS:
        yield Case(
            operation=op.PUSH_UNREGISTER,
            what=what,
            expected=refuses(code, 422, location),
            body=connection(**{"url": "https://push.example.com", **changed}),
        )
    yield Case(
        operation=op.PUSH_UNREGISTER,
        what="http where https is asked for",
        expected=refuses("H531", 422),
        body=connection(url=_NOBODY_LISTENS),
    )
    yield Case(
        operation=op.PUSH_UNREGISTER,
        what="a connection nobody made",
        expected=refuses("H530", 422),
        body=connection(url="https://push.example.com"),
    )
