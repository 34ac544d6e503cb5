"""Malformed bodies for the intake: what systems, browsers and strangers post, damaged by chance.

Each follows from its number and a seed. Recipients are of one block of numbers and one domain, so
that a log can be searched for them.
"""

import hmac
import json
from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

SECRET = "the-secret-of-the-campaign-0123456789"  # of no account
DOMAIN = "recipient.example.com"
BLOCK = "5559"
"""What numbers of recipients begin with."""
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data; boundary=x"
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 1e308, "", " ", "\0", "\ud800", "ı", "a" * 5000),
    *([], [[]], {}, {"a": {"b": {}}}, "2026-13-45", "01/02/03", "ONAY RET", ["ONAY", "RET"]),
)


class Body(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    content: bytes


def body(number: int, seed: int) -> Body:
    """Return the body of this number."""
    random = Random(f"{seed}/{number}")
    make = random.choice((_segment, _sendgrid_like, _reply, _form, _form, _consents, _link))
    found = make(random, number)
    return random.choice((_cut, _flipped, _twisted, _renamed, _as_it_is))(found, random)


def _recipient(random: Random, number: int) -> dict[str, str]:
    phone = f"+90{BLOCK}{number % 1_000_000:06d}"
    return {"phone": phone} if random.random() < 0.5 else {"email": f"a{number}@{DOMAIN}"}


def _damaged(value: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return ``value`` with some of its members odd, or gone, at any depth."""
    found: dict[str, Any] = {}
    for name, member in value.items():
        chance = random.random()
        if chance < 0.08:
            continue
        if chance < 0.2:
            found[name] = random.choice(_ODD)
        else:
            found[name] = _damaged(member, random) if isinstance(member, dict) else member
    return found


def _segment(random: Random, number: int) -> Body:
    webhook = {
        "type": "track",
        "event": "Marketing Consent Changed",
        "messageId": f"m-{number}",
        "timestamp": "2026-03-02T09:00:00Z",
        "properties": {**_recipient(random, number), "channel": "sms", "consent": False},
    }
    content = _json(_damaged(webhook, random))
    return Body("/v1/sources/segment", {"content-type": "application/json"}, content)


def _sendgrid_like(random: Random, number: int) -> Body:
    events = [
        _damaged({"email": f"b{number}-{one}@{DOMAIN}", "event": "unsubscribe", "at": 1.5}, random)
        for one in range(random.randrange(6))
    ]
    whole: Any = random.choice((events, {"events": events}, events[:1], 7, "events"))
    return Body("/v1/sources/batch", {"content-type": "application/json"}, _json(whole))


def _reply(random: Random, number: int) -> Body:
    fields = {
        "gsm": f"0{BLOCK}{number % 1_000_000:06d}",
        "message": random.choice(("RET", "?", "")),
    }
    content = urlencode(_damaged(fields, random), errors="surrogatepass").encode()
    return Body("/v1/sources/reply", {"content-type": _FORM}, content)


def _form(random: Random, number: int) -> Body:
    fields = {**_recipient(random, number), "sms": "on", "news": random.choice(("on", "off", "x"))}
    fields = _damaged(fields, random)
    kind = random.choice(("application/json", _FORM, _MULTIPART, "text/plain", ""))
    if kind == _MULTIPART:
        parts = (
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in fields.items()
        )
        content = ("".join(parts) + "--x--\r\n").encode("utf-8", "surrogatepass")
    elif kind == _FORM:
        content = urlencode(fields, errors="surrogatepass").encode()
    else:
        content = _json(fields)
    return Body("/v1/forms/signup", {"content-type": kind}, content)


def _consents(random: Random, number: int) -> Body:
    record = {**_recipient(random, number), "type": "MESAJ", "status": "RET", "brand_code": 100001}
    many = [_damaged(record, random) for _ in range(random.randrange(1, 5))]
    whole: Any = random.choice((many, many[0]))
    return Body("/v1/consents", {"content-type": "application/json"}, _json(whole))


def _link(random: Random, _number: int) -> Body:
    sealed = "gAAAA" + "".join(random.choices("abcXYZ019-_=", k=random.randrange(300)))
    path = random.choice(("/v1/opt-out/", "/v1/confirm/"))
    return Body(path + sealed, {"content-type": _FORM}, b"List-Unsubscribe=One-Click")


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _as_it_is(found: Body, _random: Random) -> Body:
    return found


def _cut(found: Body, random: Random) -> Body:
    return found._replace(content=found.content[: random.randrange(len(found.content) + 1)])


def _flipped(found: Body, random: Random) -> Body:
    content = bytearray(found.content)
    for _ in range(random.randrange(1, 6)):
        if content:
            content[random.randrange(len(content))] = random.randrange(256)
    return found._replace(content=bytes(content))


def _twisted(found: Body, random: Random) -> Body:
    kind = random.choice(("application/json", _FORM, _MULTIPART, "application/xml", "\u0131"))
    return found._replace(headers={"content-type": kind.encode("utf-8").decode("latin-1")})


def _renamed(found: Body, random: Random) -> Body:
    old, new = random.choice(((b"phone", b"Phone"), (b"email", b"email "), (b'"', b"'")))
    return found._replace(content=found.content.replace(old, new))


def proven(found: Body, key: str) -> Mapping[str, str]:
    """Return the headers of ``found`` with what proves its sender."""
    signature = hmac.digest(SECRET.encode(), found.content, "sha256").hex()
    return {**found.headers, "x-signature": signature, "authorization": f"Bearer {key}"}
