"""Hostile requests as bytes, made from a seed: each can be made again by its number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote, quote_from_bytes

from tests.chaos.requests import apis
from tests.support.hostile.inputs import FORM, HostileInputs

_JSON = "application/json"
_TAKEN = 900_000
"""Bytes of a body that every API reads."""
_ENDED = {"Connection": "close"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRequest:
    """What is written to a connection, and how it may be answered."""

    kind: str
    content: bytes
    answers: int | None = None
    """How many answers must come; None: whether any comes is the server's."""
    at_most: int = 1
    """More answers mean that a request was smuggled."""
    status: int | None = None
    """The only answer that there may be."""
    pieces: int = 1
    """In how many pieces it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a client of an API can know of it."""

    api: apis.Api
    cursor: str = ""
    topics: Sequence[str] = field(default=())

    @property
    def target(self) -> apis.Target:
        """The API."""
        return apis.TARGETS[self.api]


def hostile_request(seed: int, number: int, known: Known) -> HostileRequest:
    """Return the request of this number."""
    random = Random(f"{seed} {known.api} {number}")
    kinds = _KINDS if known.target.body is not None else _WITHOUT_BODY
    (kind,) = random.choices([*kinds], [weight for weight, _ in kinds.values()])
    return kinds[kind][1](kind, random, known)


def request(  # the parts of a request
    target: apis.Target,
    *,
    method: str | None = None,
    path: str | None = None,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    more: Sequence[bytes] = (),
) -> bytes:
    """Return a request in the right notation; ``more`` are lines of its head."""
    fields = {
        "Host": "test",
        "Authorization": target.authorization,
        "Content-Type": _JSON,
        "Content-Length": str(len(body)),
        **_ENDED,
        **(headers or {}),
    }
    lines = [f"{name}: {value}".encode("latin-1", "replace") for name, value in fields.items()]
    first = f"{method or target.method} {path or target.path} HTTP/1.1".encode("utf-8", "replace")
    return b"\r\n".join([first, *lines, *more, b"", body])


def _lawful(target: apis.Target) -> bytes:
    """Return a lawful request after which the connection stays open."""
    return request(target, body=target.lawful(0), headers={"Connection": "keep-alive"})


Maker = Callable[[str, Random, Known], HostileRequest]


def _body(kind: str, random: Random, known: Known) -> HostileRequest:
    made = apis.body(random, HostileInputs(random.randrange(2**32)), known.target)
    # While the client still sends, it may lose the answer to what is too large.
    whole = 1 if len(made) < _TAKEN else None
    return HostileRequest(kind=kind, content=request(known.target, body=made), answers=whole)


def _form(kind: str, random: Random, known: Known) -> HostileRequest:
    hostile = HostileInputs(random.randrange(2**32))
    made = hostile.form(hostile.record())
    made = random.choice((made, hostile.broken(made), made * 50, b"%" * 999, b"a=b&" * 20_000))
    content = request(known.target, body=made, headers={"Content-Type": FORM})
    return HostileRequest(kind=kind, content=content, answers=1)


def _content_type(kind: str, random: Random, known: Known) -> HostileRequest:
    named = random.choice(
        (
            *("", "text/plain", "multipart/form-data; boundary=x", "application/json\x0b", "\xff"),
            *(f"{_JSON}; charset=utf-16", f"{_JSON}; charset=" + "x" * 5000, "/", ";" * 3000),
        )
    )
    headers = {
        "Content-Type": named,
        random.choice(("Content-Encoding", "TE")): "gzip, br, deflate",
    }
    made = request(known.target, body=known.target.lawful(0), headers=headers)
    return HostileRequest(kind=kind, content=made)


def _query(kind: str, random: Random, known: Known) -> HostileRequest:
    names = [*known.target.query, "from", "x", "limit", "%00", "ş", ""]
    pairs = [f"x{number}={number}" for number in range(random.choice((0, 0, 0, 0, 1000)))]
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(names)
        text = random.choice(
            (
                *[lambda: quote(apis.number(random))] * 4,
                lambda: apis.number(random).replace(" ", "+"),
                lambda: quote(apis.token(random, known.topics)),
                lambda: random.choice(("now", "%", "%zz", "%00", "%ff%fe", "%u0041", "a" * 9000)),
                lambda: quote_from_bytes(random.randbytes(40)),
                lambda: quote(_cursor(random, known)),
                lambda: quote(_cursor(random, known)),
            )
        )()
        pairs.append(f"{quote(name)}{random.choice(('=', '=', '=', ''))}{text[:60_000]}")
    path = f"{known.target.path}?{random.choice('&&&;').join(pairs)}"
    made = request(known.target, path=path, body=known.target.lawful(0))
    return HostileRequest(kind=kind, content=made, answers=1 if len(path) < 60_000 else None)


def _of_query(name: str) -> Maker:
    """Return what makes a request with one hostile parameter."""

    def made(kind: str, random: Random, known: Known) -> HostileRequest:
        text = _cursor(random, known) if name == "after" else apis.number(random)
        path = f"{known.target.path}?{name}={quote(text[:60_000])}"
        content = request(known.target, path=path, body=known.target.lawful(0))
        whole = 1 if len(path) < 60_000 and name != "wait" else None
        return HostileRequest(kind=kind, content=content, answers=whole)

    return made


def _cursor(random: Random, known: Known) -> str:
    return apis.cursor(random, known.cursor) if known.cursor else apis.token(random, ("x",))


def _authorization(kind: str, random: Random, known: Known) -> HostileRequest:
    """Make keys that are changed, cut, doubled, of another scheme, or rubbish."""
    scheme, _, key = known.target.authorization.partition(" ")
    at = random.randrange(len(key))
    text = random.choice(
        (
            f"{scheme} {key[:at]}",
            f"{scheme} {key[:at]}{random.choice('aA0-_=ş')}{key[at + 1 :]}",
            f"{scheme} {key} {key}",
            f"{scheme}\t{key}",
            f"{scheme} {key * 300}",
            f"Digest {key}",
            f"Basic {key}",
            "Bearer",
            "Basic Og==",
            "Basic =",
            "",
            " " * 4000,
            f"{scheme} izin_" + "\xff" * 200,
            f"{scheme} {apis.number(random)}",
        )
    )
    headers = {"Authorization": text, "X-Forwarded-For": random.choice(("::1%x", "a", "1" * 5000))}
    made = request(known.target, body=known.target.lawful(0), headers=headers)
    return HostileRequest(kind=kind, content=made)


def _method(kind: str, random: Random, known: Known) -> HostileRequest:
    tokens = (*("TRACE", "CONNECT", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "GET", "POST"),)
    method = random.choice((*tokens, "post", "G\u0130T", "X" * 3000, "PRI", "GET\tx", "", "@"))
    made = request(known.target, method=method, body=random.choice((b"", known.target.lawful(0))))
    return HostileRequest(kind=kind, content=made)


def _path(kind: str, random: Random, known: Known) -> HostileRequest:
    path = known.target.path
    text = random.choice(
        (
            *(f"http://test{path}", f"https://user@other:99999{path}", "*", "//", f"//{path}"),
            *(f"{path}/", f"{path}%00", f"{path}%2f..", f"/../{path}", path.upper(), "?", "#"),
            *(f"/{'9' * 5000}", f"{path}#x", f"{path}\\", f"/{'%41' * 3000}", "test:80", ""),
            *("/" + "a/" * 20_000, "/health/", "/health/ready?x", "/metrics", "/docs", "/\xff"),
            *(f"{path}/{apis.number(random)}", f"http://[::1{path}", "/openapi.json", "/%ff"),
        )
    )
    made = request(known.target, path=text, body=known.target.lawful(0))
    return HostileRequest(kind=kind, content=made)


def _lengths(kind: str, random: Random, known: Known) -> HostileRequest:
    """Make lengths beside chunks, doubled and wrong ones, with a second request in what is left."""
    body = known.target.lawful(0)
    inner = _lawful(known.target)
    length = f"Content-Length: {len(body)}".encode()
    chunked = b"Transfer-Encoding: chunked"
    head = request(known.target).split(b"Content-Length")[0]
    lines = random.choice(
        (
            [length, chunked],
            [chunked, length],
            [chunked, b"Content-Length: 4"],
            [b"Content-Length: 0", chunked],
            [b"Transfer-Encoding : chunked", length],
            [b"Transfer-Encoding: xchunked"],
            [b"Transfer-Encoding: chunked, identity"],
            [b"Transfer-Encoding:\x0bchunked"],
            [b"Transfer-Encoding: gzip, chunked"],
            [chunked, b"Transfer-Encoding: identity"],
            [length, b"Content-Length: 1"],
            [b"Content-Length: +5"],
            [b"Content-Length: -1"],
            [b"Content-Length: 0x5"],
            [b"Content-Length: 1_0"],
            [b"Content-Length: 5, 5"],
            [b"Content-Length: " + apis.number(random).encode()],
            [b"Content-Length: " + b"9" * 5000],
            [length, b" folded: x"],
        )
    )
    rest = random.choice((b"0\r\n\r\n" + inner, body + inner, body, b"1\r\nx\r\n0\r\n\r\n" + inner))
    made = head + b"\r\n".join(lines) + b"\r\n\r\n" + rest
    if len({line.partition(b":")[0] for line in lines}) > 1 and chunked in lines:
        return HostileRequest(kind=kind, content=made, answers=1, status=400)
    return HostileRequest(kind=kind, content=made, at_most=2)


def _chunks(kind: str, random: Random, known: Known) -> HostileRequest:
    body = known.target.lawful(0)
    head = request(known.target).split(b"Content-Length")[0]
    size = b"%x" % len(body)
    chunks = random.choice(
        (
            size + b"\r\n" + body + b"\r\n0\r\n\r\n",
            size + b";x=" + b"y" * 70_000 + b"\r\n" + body + b"\r\n0\r\n\r\n",
            b"-1\r\n" + body + b"\r\n0\r\n\r\n",
            b"f" * 16 + b"\r\n" + body,
            b"f" * 5000 + b"\r\n" + body,
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\n0\n\n",
            b"zz\r\n" + body,
            size + b"\r\n" + body + b"XX0\r\n\r\n",
            (b"1\r\n" + b"[" + b"\r\n") * 20_000 + b"0\r\n\r\n",
            b"0\r\nTrailer: x\r\nAuthorization: y\r\n\r\n",
            b"0\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
            b"\r\n" * 500,
        )
    )
    made = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    # Who is answered before the body was read gets another answer about its chunks.
    return HostileRequest(kind=kind, content=made, at_most=2)


def _head(kind: str, random: Random, known: Known) -> HostileRequest:
    """Make heads that are huge, of bare LF, with NUL, of other versions, or no heads."""
    body = known.target.lawful(0)
    whole = request(known.target, body=body)
    line = random.choice((b"X: ", b"Cookie: ", b"Authorization: "))
    more = [b"X%d: y" % one for one in range(random.choice((100, 3000, 20_000)))]
    at = random.randrange(len(whole))
    made = random.choice(
        (
            lambda: request(known.target, body=body, more=[line + b"x" * 100_000]),
            lambda: request(known.target, body=body, more=[line + b"x" * 2_000_000]),
            lambda: request(known.target, body=body, more=more),
            lambda: request(known.target, body=body, more=[b"X: a\0b"]),
            lambda: request(known.target, body=body, more=[b"\0: a", b": a", b"a b: c"]),
            lambda: request(known.target, body=body, more=[b"Host: other"]),
            lambda: request(known.target, body=body, more=[b"X: a\r\r\nY: b"]),
            lambda: request(known.target, body=body, more=[b"Expect: 100-continue"]),
            lambda: request(known.target, body=body, more=[b"Upgrade: websocket", b"Expect: x"]),
            lambda: request(known.target, body=body, headers={"Connection": "Upgrade, HTTP2-X"}),
            lambda: whole.replace(b"\r\n", b"\n"),
            lambda: whole.replace(b"\r\n", b"\n", 2),
            lambda: whole.replace(b"\r\n", b"\r"),
            lambda: whole.replace(b"Host: test\r\n", b""),
            lambda: whole.replace(b"HTTP/1.1", random.choice(_VERSIONS)),
            lambda: whole[:at] + b"\0" + whole[at:],
            lambda: whole[:at] + random.randbytes(8) + whole[at:],
            lambda: b"\r\n" * random.choice((1, 5, 70_000)) + whole,
            lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + random.randbytes(30),
            lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(300),
            lambda: random.randbytes(random.choice((1, 100, 100_000))),
            lambda: random.randbytes(100) + b"\r\n\r\n",
        )
    )()
    return HostileRequest(kind=kind, content=made, pieces=random.choice((1, 1, 3)), at_most=2)


_VERSIONS = (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.11111", b"", b"ICY")


def _half(kind: str, random: Random, known: Known) -> HostileRequest:
    """Write the begin of a request, after which the client goes."""
    whole = request(known.target, body=known.target.lawful(0) or b"x" * 90)
    made = whole[: random.randrange(1, len(whole))]
    return HostileRequest(kind=kind, content=made, pieces=random.choice((1, 2)))


def _pipelined(kind: str, random: Random, known: Known) -> HostileRequest:
    """Make several requests at once, the last of which ends the connection."""
    count = random.choice((2, 5, 30))
    last = request(known.target, body=known.target.lawful(0))
    content = b"".join([_lawful(known.target)] * (count - 1)) + last
    return HostileRequest(kind=kind, content=content, answers=count, at_most=count)


_COMMON: Mapping[str, tuple[int, Maker]] = {
    "head": (12, _head),
    "lengths": (12, _lengths),
    "chunks": (7, _chunks),
    "half": (6, _half),
    "pipelined": (2, _pipelined),
    "method": (5, _method),
    "path": (6, _path),
    "authorization": (8, _authorization),
    "query": (6, _query),
}
_KINDS: Mapping[str, tuple[int, Maker]] = {
    **_COMMON,
    "body": (40, _body),
    "form": (6, _form),
    "content type": (4, _content_type),
}
_WITHOUT_BODY: Mapping[str, tuple[int, Maker]] = {
    **_COMMON,
    "limit": (10, _of_query("limit")),
    "wait": (5, _of_query("wait")),
    "after": (30, _of_query("after")),
}


def kinds_of(api: apis.Api) -> frozenset[str]:
    """Return every kind of request to ``api``."""
    return frozenset(_KINDS if apis.TARGETS[api].body is not None else _WITHOUT_BODY)
