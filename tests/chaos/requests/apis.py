"""The APIs that hostile requests go to, and hostile values for them.

What each is asked lawfully, and what it answers then; values as the text of JSON or of a query,
bodies and cursors.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from izin.schemas.consistency_token import LogPosition, PackedReader, PackedWriter, token_of
from izin.schemas.may_send_api import PATH
from tests.support.builders import API_KEY, BRAND, PHONE, a_second_key
from tests.support.hostile.inputs import HostileInputs

PUSH = ("iys", "a-fake-push-password")
SECOND_KEY, _ = a_second_key()
"""The neighbour's; the hostile one has ``API_KEY``."""
_DIGITS = (10, 19, 20, 39, 309, 640, 4299, 4300, 4301, 5000, 50_000)
_DEPTHS = (3, 100, 500, 990, 1024, 5000, 100_000)
_HOLE = "the hole of a hostile value"
_LARGE = 15_000_000
_LARGE_ONES = 0.004
_CURSOR = 0x43
_EDGES = (0, 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**69)


class Api(StrEnum):
    """An API that is open to customers or to İYS."""

    INTAKE = "intake"
    FEEDS = "feeds"
    GATE = "gate"
    PUSH = "push receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an API takes what, and what is right of it."""

    api: Api
    path: str
    authorization: str
    """Of the hostile one."""
    neighbours: str
    """The neighbour's ``Authorization``."""
    body: Any = None
    """JSON that is taken; None: it is a GET."""
    fields: tuple[str, ...] = ()
    """Of ``body``: which values are replaced by hostile ones."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters that are taken."""
    status: int = 200
    shows: str = ""
    """What the answer to a lawful request has."""

    @property
    def method(self) -> str:
        """Of a lawful request."""
        return "GET" if self.body is None else "POST"

    def lawful(self, number: int) -> bytes:
        """Return the body of a lawful request, of a recipient of its own."""
        if self.body is None:
            return b""
        # What opts out at one API must not change what another one answers.
        recipient = f"+905550{[*Api].index(self.api)}{number % 100_000:05}"
        return json.dumps(self.body).replace(PHONE, recipient).encode()


def _bearer(key: str) -> str:
    return f"Bearer {key}"


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


_RECORD: Mapping[str, object] = {
    "recipient": PHONE,
    "type": "MESAJ",
    "status": "RET",
    "source": "HS_WEB",
    "consent_date": "2026-03-02 12:00:00",
    "brand_code": BRAND,
}
_QUESTION: Mapping[str, object] = {"brand_code": BRAND, "type": "MESAJ", "recipients": [PHONE]}
_MOVEMENT: Mapping[str, object] = {
    "iysCode": BRAND,
    "brandCode": BRAND,
    "consentDate": "2026-03-02 12:00:00",
    "creationDate": "2026-03-02 12:00:00",
    "source": "IYS_WEB",
    "recipient": PHONE,
    "recipientType": "BIREYSEL",
    "status": "RET",
    "type": "MESAJ",
    "transactionId": "0" * 64,
}
_MORE_OF_RECORD = (
    *("id", "origin_ref", "date_basis", "sequence", "actor", "correlation_id", "retailer_code"),
    *("retailer_access", "notice_version", "evidence_hash", "evidence", "recipient_type"),
)
_MORE_OF_QUESTION = (
    *("recipient_type", "message_class", "basis", "retailer_code", "campaign", "receipt"),
    "at_least",
)
_KEYS = {"authorization": _bearer(API_KEY), "neighbours": _bearer(SECOND_KEY)}
TARGETS: Mapping[Api, Target] = {
    one.api: one
    for one in (
        Target(
            api=Api.INTAKE,
            path="/v1/consents",
            body=_RECORD,
            fields=(*_RECORD, *_MORE_OF_RECORD),
            status=202,
            shows='"event_id"',
            **_KEYS,
        ),
        Target(
            api=Api.FEEDS,
            path="/v1/permissions",
            query={"limit": "2", "wait": "0", "after": ""},
            shows=f'"brand_code":{BRAND}',
            **_KEYS,
        ),
        Target(
            api=Api.GATE,
            path=PATH,
            body=_QUESTION,
            fields=(*_QUESTION, *_MORE_OF_QUESTION),
            shows='"reason":"not-registered"',
            **_KEYS,
        ),
        Target(
            api=Api.PUSH,
            path="/iys/push",
            body={"list": [_MOVEMENT]},
            fields=("list", *_MOVEMENT),
            authorization=_basic(*PUSH),
            neighbours=_basic(*PUSH),
            shows='"ok"',
        ),
    )
}


def number(random: Random) -> str:
    """Return a number of any length and sign, as JSON or a query may have it, and such as it may
    not.
    """
    digits = random.choice("0123456789") * random.choice(_DIGITS)
    return random.choice(
        (
            digits,
            f"-{digits}",
            f"+{digits}",
            f"{digits}.{digits}",
            f"0.{digits}",
            f"1e{digits[:400]}",
            f"-1E-{digits[:400]}",
            f"{'0' * 30}1999999",
            str(random.choice(_EDGES)),
            str(-random.choice(_EDGES)),
            str(random.choice(_EDGES) + random.choice((-1, 1))),
            *("0x10", "1_000", ".5", "1.", "-", "-0", "1e400", "NaN", "Infinity", "-Infinity"),
            *("nan", "inf", "-inf", "٣", "１", "1 ", " 1", "1\t", "1,5", "½"),
        )
    )


def value(random: Random, hostile: HostileInputs) -> bytes:
    """Return a JSON value, or what only begins as one."""
    depth = random.choice(_DEPTHS)
    return random.choice(
        (
            lambda: number(random).encode(),
            lambda: number(random).encode(),
            lambda: json.dumps(hostile.value(), ensure_ascii=random.random() < 0.5).encode(
                "utf-8", "surrogatepass"
            ),
            lambda: random.choice(
                (b"null", b"true", b"false", b'""', b"[]", b"{}", b"[[]]", b"[{}]", b"undefined")
            ),
            lambda: random.choice(
                (b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\0"', b'"\xff\xfe"', b'"\\x"')
            ),
            lambda: b"[" * depth + b"]" * depth,
            lambda: b'{"a":' * depth + b"1" + b"}" * depth,
            lambda: b"[" * depth,
            lambda: b'"' + random.choice((b"x", b"5", b"\xc5\x9f", b"@")) * 10**5 + b'"',
            lambda: b"[" + b",".join([b'"x"'] * random.choice((99, 1001))) + b"]",
            lambda: b"{" + b",".join(b'"%d":1' % one for one in range(2000)) + b"}",
        )
    )()


def body(random: Random, hostile: HostileInputs, target: Target) -> bytes:
    """Return a body with something hostile in it, or a hostile one."""
    if random.random() < _LARGE_ONES:
        return _large(random, target)
    whole = json.dumps(target.body).encode()
    return random.choice(
        (
            *[lambda: _field(random, hostile, target)] * 6,
            lambda: _doubled(random, hostile, target),
            lambda: value(random, hostile),
            lambda: b"[" + b",".join([whole] * random.choice((0, 2, 1001))) + b"]",
            lambda: hostile.broken(whole),
            lambda: whole.decode().encode(random.choice(("utf-16", "utf-32", "utf-8-sig"))),
            lambda: b"",
            lambda: whole + random.choice((b"x", b"\0", b"{}", b" " * 70_000)),
        )
    )()


def _field(random: Random, hostile: HostileInputs, target: Target) -> bytes:
    """Return the lawful body with some fields replaced, or more of them."""
    fields = random.sample(target.fields, random.choice((1, 1, 2, 4)))
    made, text = _with(target.body, dict.fromkeys(fields, _HOLE)), b""
    for part in json.dumps(made).encode().split(json.dumps(_HOLE).encode()):
        text += (value(random, hostile) if text else b"") + part
    return text


def _doubled(random: Random, hostile: HostileInputs, target: Target) -> bytes:
    name = random.choice(target.fields)
    text = json.dumps(target.body).encode()
    key = json.dumps(name).encode()
    return text.replace(b"{", b"{" + key + b":" + value(random, hostile) + b",", 1)


def _with(found: Any, replaced: Mapping[str, object]) -> Any:  # noqa: ANN401  # any JSON
    """Return a body with fields replaced: in the entries of a list, or in itself."""
    if "list" not in found or "list" in replaced:
        return found | replaced
    return {"list": [one | replaced for one in found["list"]]}


def _large(random: Random, target: Target) -> bytes:
    """Return a body of 15 MB."""
    piece = random.choice((b'""', b"0", b"[]", b"{}", b'"' + b"5" * 990 + b'"'))
    many = b"[" + piece + (b"," + piece) * (_LARGE // (len(piece) + 1)) + b"]"
    name = json.dumps(target.fields[-1] if random.random() < 0.5 else "recipients").encode()
    return random.choice((many, b"{" + name + b":" + many + b"}", b" " * _LARGE))


def cursor(random: Random, genuine: str) -> str:
    """Return a cursor like a ``genuine`` one: changed, cut, or whole and of wild numbers."""
    at = random.randrange(len(genuine))
    return random.choice(
        (
            lambda: genuine[:at],
            lambda: genuine[:at] + random.choice("Aa0-_%=+/ş") + genuine[at + 1 :],
            lambda: genuine * random.choice((2, 2000)),
            lambda: genuine + "=" * random.choice((1, 3, 5)),
            lambda: _wild_cursor(random, genuine),
            lambda: _wild_cursor(random, genuine),
            lambda: token_of([LogPosition("consent-events", 0, 1)]),
        )
    )()


def _wild_cursor(random: Random, genuine: str) -> str:
    """Return a cursor of the same log whose checksum is right."""
    packed, out = PackedReader(_CURSOR, genuine), PackedWriter(_CURSOR)
    for _ in range(3):
        out.text(packed.text())
    complete_at, turn = packed.number(), packed.number()
    offsets = packed.numbers()
    ends = packed.numbers()

    def wild(known: int) -> int:
        return random.choice((known, random.choice(_EDGES)))

    out.number(wild(complete_at))
    out.number(wild(turn))
    for listed in (offsets, ends):
        found = [wild(one) for one in listed] * random.choice((1, 1, 1, 2))
        if random.random() < 0.1:  # now and then
            out.number(random.choice(_EDGES))
        out.numbers(found)
    return out.opaque()


def token(random: Random, topics: Sequence[str]) -> str:
    """Return a consistency token that lies: of other topics and partitions, or of offsets that
    nothing has.
    """
    places = [
        LogPosition(
            random.choice((*topics, "other", "", "ş" * 300)),
            random.choice((0, 0, 1, 2**31, 2**63)),
            random.choice(_EDGES),
        )
        for _ in range(random.choice((0, 1, 1, 2, 5000)))
    ]
    text = token_of(places)
    return random.choice((text, text, text[:-1], text + "A", number(random)))
