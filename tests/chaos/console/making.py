"""Hostile requests to the console as bytes, made from a seed: its number makes each again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import quote, quote_from_bytes, urlencode

from izin.ledger.console.accounts import AccountRole
from izin.web.app import CSRF_FIELD, SESSION_COOKIE
from izin.web.process import SCREENS
from tests.support.console.crawl import Asked, Party, asked
from tests.support.hostile.inputs import FORM, HostileInputs

_BOUNDARY = "a-boundary"
_MULTIPART = f"multipart/form-data; boundary={_BOUNDARY}"
_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get")
_LONGEST = 1_500_000
_NUMBERS = (
    "0",
    "-1",
    "1e9",
    "2147483648",
    "9223372036854775808",
    "99999999999999999999",
    "1.5",
    "9" * 5000,
    "٣",
)
_PATHS = (
    *(
        "/",
        "/account",
        "/sign-in",
        "/sign-in/link/",
        "/sign-out",
        "/language",
        "/static/console.css",
    ),
    *("/static/../app.py", "//", "/..%2f..%2fetc/passwd", "/%00", "/health/ready", "/metrics"),
    *("/sign-in/oidc", "/sign-in/oidc/back", "/account/password", "/favicon.ico", "/.git/config"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session of a role, cut to our customer."""

    role: AccountRole
    token: str
    csrf: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a hostile client can know of a console."""

    port: int
    sessions: Sequence[SignedIn]
    ours: Party
    theirs: Party

    @property
    def origin(self) -> str:
        """The origin of its forms."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRequest:
    """A request, and what it may name of another customer, which its answer then may have too."""

    kind: str
    content: bytes
    named: tuple[str, ...] = ()


def hostile_request(seed: int, number: int, target: Target) -> MadeRequest:
    """Return the request of this number."""
    maker = _Maker(seed, number, target)
    (kind,) = maker.random.choices([*KINDS], [weight for weight, _ in KINDS.values()])
    content = KINDS[kind][1](maker)[:_LONGEST]
    return MadeRequest(kind=kind, content=content, named=target.theirs.named)


class _Maker:
    """Makes one request."""

    def __init__(self, seed: int, number: int, target: Target) -> None:
        self.random = Random(f"{seed} {number}")
        self.inputs = HostileInputs(self.random.randrange(2**32))
        self.target = target
        self.session = self.random.choice(target.sessions)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        signed_in: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return a request in the right notation."""
        fields = {
            "Host": f"127.0.0.1:{self.target.port}",
            "Connection": "close",
            "Content-Length": str(len(body)),
            **({"Cookie": f"{SESSION_COOKIE}={self.session.token}"} if signed_in else {}),
            **(headers or {}),
        }
        lines = [f"{name}: {value}".encode("latin-1", "replace") for name, value in fields.items()]
        first = f"{method} {path} HTTP/1.1".encode("latin-1", "replace")
        return b"\r\n".join([first, *lines, b"", body])

    def asked(self, method: str) -> Asked:
        """Return a request that names what is ours, or another's."""
        screens = [one for one in SCREENS if one.method == method]
        party = self.random.choice((self.target.ours, self.target.theirs))
        return self.random.choice([*asked(self.random.choice(screens), party)])

    def value(self) -> str:
        """Return a value that no page offers."""
        return self.random.choice(
            (
                self.inputs.text,
                self.inputs.date,
                lambda: self.random.choice(_NUMBERS),
                lambda: self.random.choice(self.target.theirs.named),
                lambda: "",
            )
        )()[:5000]

    def spoilt(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return ``given`` with some of its values replaced, and a field that nobody knows."""
        found = {
            name: self.value() if self.random.random() < 0.4 else value  # some of them
            for name, value in given.items()
        }
        return {**found, self.value()[:50]: self.value()}

    def query(self, given: Mapping[str, str]) -> str:
        """Return a query of ``given`` values, spoilt."""
        if self.random.random() < 0.1:  # bytes that are no text
            return quote_from_bytes(self.random.randbytes(20), safe="&=%")
        return urlencode(self.spoilt(given), errors="surrogatepass", encoding="utf-8")

    def path(self, one: Asked) -> str:
        """Return the path of a request, with a part of it spoilt now and then."""
        parts = one.path.split("/")
        if self.random.random() < 0.3:  # now and then
            at = self.random.randrange(len(parts))
            parts[at] = quote(self.value()[:200].encode("utf-8", "surrogatepass"), safe="%")
        return "/".join(parts) or "/"


def _page(maker: _Maker) -> bytes:
    one = maker.asked("GET")
    query = {**one.query, "customer": maker.random.choice(("acme", "*", one.query["customer"]))}
    return maker.request("GET", f"{maker.path(one)}?{maker.query(query)}")


def _form(maker: _Maker) -> bytes:
    one = maker.asked("POST")
    form = {**maker.spoilt(one.form), CSRF_FIELD: maker.session.csrf}
    body = urlencode(form, errors="surrogatepass", encoding="utf-8").encode()
    query = urlencode({"customer": maker.random.choice(("acme", one.query["customer"]))})
    headers = {"Content-Type": FORM, "Origin": maker.target.origin}
    return maker.request("POST", f"{maker.path(one)}?{query}", body, headers=headers)


def _foreign_form(maker: _Maker) -> bytes:
    one, random = maker.asked("POST"), maker.random
    token = random.choice(("", "\u011f", maker.value(), random.choice(maker.target.sessions).csrf))
    body = urlencode({**one.form, CSRF_FIELD: token}, errors="surrogatepass").encode()
    origins = ("null", "", "https://evil.example.com", maker.target.origin, "http://[::", "\xff")
    headers = {
        "Content-Type": random.choice((FORM, "text/plain", maker.value())),
        "Origin": random.choice(origins),
        "Sec-Fetch-Site": random.choice(("same-origin", "cross-site", "none", "\xff")),
    }
    clean = {name: " ".join(value.split()) for name, value in headers.items()}
    return maker.request("POST", one.path, body, headers=clean)


def _file(maker: _Maker) -> bytes:
    one, random = maker.asked("POST"), maker.random
    lines = []
    for name in (CSRF_FIELD, *one.form, *one.files, *one.files):
        value = maker.session.csrf if name == CSRF_FIELD else maker.value()
        shown = f'form-data; name="{name}"'
        if name in one.files or random.random() < 0.2:  # now and then a file for a text
            shown += f'; filename="{random.choice(("a.csv", "a.xlsx", maker.value()[:100]))}"'
        head = f"--{_BOUNDARY}\r\nContent-Disposition: {shown}\r\n\r\n"
        lines.append(f"{head}{value}\r\n".encode("utf-8", "surrogatepass"))
    body = b"".join([*lines, f"--{_BOUNDARY}--\r\n".encode()])
    if random.random() < 0.3:  # now and then
        body = maker.inputs.broken(body)
    kind = random.choice((_MULTIPART, _MULTIPART, "multipart/form-data", f"{_MULTIPART}x"))
    headers = {"Content-Type": kind, "Origin": maker.target.origin}
    return maker.request("POST", f"{one.path}?customer=acme", body, headers=headers)


def _sign_in(maker: _Maker) -> bytes:
    random = maker.random
    names = ("reader", "admin", "nobody", maker.value())
    form = {"name": random.choice(names), "password": maker.value()}
    path = random.choice(
        ("/sign-in", f"/sign-in/link/{quote(maker.value()[:100].encode('utf-8', 'surrogatepass'))}")
    )
    body = urlencode(form, errors="surrogatepass", encoding="utf-8").encode()
    headers = {"Content-Type": FORM, "Origin": maker.target.origin}
    return maker.request("POST", path, body, headers=headers, signed_in=random.random() < 0.5)


def _language(maker: _Maker) -> bytes:
    form = {"language": maker.random.choice(("tr", "en", maker.value())), "back": maker.value()}
    body = urlencode(form, errors="surrogatepass", encoding="utf-8").encode()
    headers = {"Content-Type": FORM, "Origin": maker.target.origin}
    return maker.request("POST", "/language", body, headers=headers)


def _anything(maker: _Maker) -> bytes:
    random = maker.random
    paths = (*_PATHS, f"/{quote(maker.value().encode('utf-8', 'surrogatepass'), safe='/%?')}")
    path = random.choice([*paths, *(one.path for one in SCREENS)])[:4000]
    body = random.randbytes(random.choice((0, 0, 10, 2000)))
    return maker.request(random.choice(_METHODS), path, body, signed_in=random.random() < 0.5)


def _cookies(maker: _Maker) -> bytes:
    random = maker.random
    others = ("izin_language", "izin_said", "__Host-izin_session", SESSION_COOKIE, "a b", "")
    pairs = [f"{SESSION_COOKIE}={maker.session.token}"] if random.random() < 0.5 else []
    pairs += [f"{random.choice(others)}={maker.value()[:300]}" for _ in range(random.randrange(9))]
    random.shuffle(pairs)
    headers = {
        "Cookie": " ".join("; ".join(pairs).split()),
        "Host": random.choice(("[::", "evil.example.com", "127.0.0.1", "\xff", "")),
        "Accept": random.choice(("text/event-stream", "*/*", "\xff")),
        "HX-Request": random.choice(("true", "\xff")),
    }
    return maker.request("GET", maker.asked("GET").path, headers=headers)


KINDS: Mapping[str, tuple[int, Callable[[_Maker], bytes]]] = {
    "pages": (30, _page),
    "forms": (30, _form),
    "forms of elsewhere": (10, _foreign_form),
    "files": (10, _file),
    "signing in": (2, _sign_in),
    "languages": (4, _language),
    "anything": (8, _anything),
    "cookies": (6, _cookies),
}
"""What is sent, and how often of a hundred."""
