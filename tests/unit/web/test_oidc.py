"""What an identity provider says is believed where it is signed, for us and for this browser."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import SecretStr

from izin.runtime.settings import ConsoleSettings
from izin.web.oidc import Provider
from izin.web.visit import RefusedVisitError

ISSUER = "https://login.example.com"
CLIENT = "izin"
SECRET = "a random text of one browser"
KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": name}) for name in ("a", "b"))
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    # Of what it supports we take less.
    "id_token_signing_alg_values_supported": ["none", "HS256", "RS256"],
}
KEYS = {"keys": [KEY.as_dict(private=False), ECKey.generate_key("P-256").as_dict(private=False)]}


class FakeProvider:
    """Answers as a provider does, but for what a test replaces."""

    def __init__(self, **claim: object) -> None:
        self.metadata: dict[str, Any] = dict(METADATA)
        self.keys: Any = KEYS
        self.claims: dict[str, Any] = claim
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "a"}
        self.key: Any = KEY
        self.answers: dict[str, httpx.Response] = {}
        self.asked: list[httpx.Request] = []
        settings = ConsoleSettings(
            url="https://console.example.com",
            oidc_issuer=ISSUER,
            oidc_client_id=CLIENT,
            oidc_client_secret=SecretStr("fake"),
        )
        transport = httpx.MockTransport(self.answer)
        self.provider = Provider(settings, lambda: datetime.now(UTC), transport=transport)
        self.query: dict[str, str] = {}

    def token(self) -> str:
        """Return the identity token."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "1",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": self.query["nonce"],
            "email": "ada@example.com",
            "email_verified": True,
            **self.claims,
        }
        known = {name: value for name, value in claims.items() if value is not None}
        if self.header["alg"] == "none":
            parts = (self.header, known)
            encoded = (urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts)
            return b".".join((*encoded, b"")).decode()
        return jwt.encode(self.header, known, self.key, algorithms=[self.header["alg"]])

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.asked.append(request)
        path = request.url.path
        if path in self.answers:
            return self.answers[path]
        found: dict[str, Callable[[], object]] = {
            "/.well-known/openid-configuration": lambda: self.metadata,
            "/keys": lambda: self.keys,
            "/token": lambda: {"id_token": self.token(), "access_token": "fake"},
        }
        return httpx.Response(200, json=found[path]())

    async def name(self, secret: str = SECRET, **query: str) -> str:
        """Sign in; return the name, raise as ``Provider.name``."""
        address = await self.provider.address(SECRET)
        self.query = {name: one[0] for name, one in parse_qs(urlsplit(address).query).items()}
        given = {"code": "a-code", "state": self.query["state"], **query}
        return await self.provider.name(secret, given)


async def status_of(fake: FakeProvider, secret: str = SECRET, **query: str) -> int:
    """Return with which status signing in is refused; 200: it is not."""
    try:
        await fake.name(secret, **query)
    except RefusedVisitError as refused:
        return refused.status
    return 200


async def test_browser_is_sent_with_what_only_it_can_redeem():
    """State, nonce and challenge of its random text; none of them tells it or another."""
    fake = FakeProvider()
    assert await fake.name() == "ada@example.com"
    query = fake.query
    assert query["client_id"] == CLIENT
    assert query["redirect_uri"] == "https://console.example.com/sign-in/oidc/back"
    assert (query["response_type"], query["scope"]) == ("code", "openid email")
    assert query["code_challenge_method"] == "S256"
    assert len({query["state"], query["nonce"], query["code_challenge"], SECRET}) == 4
    (asked,) = [one for one in fake.asked if one.method == "POST"]
    form = {name: one[0] for name, one in parse_qs(asked.content.decode()).items()}
    assert form["code"] == "a-code"
    assert form["code_verifier"] not in query.values()
    assert asked.headers["Authorization"].startswith("Basic ")
    assert "client_secret" not in form


async def test_metadata_and_keys_are_read_once():
    """Until they are an hour old, or a token has a key that is not among them."""
    fake = FakeProvider()
    for _ in range(3):
        await fake.name()
    paths = [one.url.path for one in fake.asked]
    assert (paths.count("/keys"), paths.count("/.well-known/openid-configuration")) == (1, 1)
    fake.key, fake.header = OTHER_KEY, {"alg": "RS256", "kid": "b"}
    fake.keys = {"keys": [OTHER_KEY.as_dict(private=False)]}
    assert await fake.name() == "ada@example.com"
    assert await status_of(fake) == 200
    assert [one.url.path for one in fake.asked].count("/keys") == 2


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"aud": [CLIENT, "another"]},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": -120},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 600},
        {"iat": 600},
        {"sub": None},
        {"at_hash": "another"},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
    ],
)
async def test_token_of_others_or_of_another_time_is_refused(claims: dict[str, Any]):
    """Also one of this provider for another client, and an address that is not verified. A time is
    in seconds from now: the suite may run for longer than a token is good for.
    """
    now = int(time.time())
    given = {name: now + one if type(one) is int else one for name, one in claims.items()}
    assert await status_of(FakeProvider(**given)) == 403


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (OTHER_KEY, {"alg": "RS256", "kid": "a"}),
        (OTHER_KEY, {"alg": "RS256", "kid": "unknown"}),
        (OctKey.import_key("an obviously fake secret"), {"alg": "HS256"}),
        (OctKey.import_key("an obviously fake secret"), {"alg": "HS256", "kid": "a"}),
        (OctKey.import_key("an obviously fake secret"), {"alg": "none"}),
    ],
)
async def test_token_that_the_provider_did_not_sign_is_refused(key: Any, header: dict[str, Any]):  # noqa: ANN401  # keys of each kind
    """By another's key, by a secret, or by nobody."""
    fake = FakeProvider()
    fake.key, fake.header = key, header
    assert await status_of(fake) == 403


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"id_token": 1, "access_token": "x"},
        {"id_token": "x.y.z", "access_token": "x"},
        {"id_token": "", "access_token": "x"},
    ],
)
async def test_answer_without_a_token_is_refused(given: dict[str, Any]):
    """Whatever stands in its place."""
    fake = FakeProvider()
    fake.answers["/token"] = httpx.Response(200, json=given)
    assert await status_of(fake) == 403


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/token", httpx.Response(400, json={"error": "invalid_grant"}), 400),
        ("/token", httpx.Response(401, json={"error": "invalid_client"}), 503),
        ("/token", httpx.Response(500), 503),
        ("/token", httpx.Response(200, text="<html>"), 503),
        ("/token", httpx.Response(200, json=[]), 503),
        ("/token", httpx.Response(302, headers={"Location": "https://evil.example.com"}), 503),
        ("/keys", httpx.Response(404), 503),
        ("/keys", httpx.Response(200, json={"keys": 1}), 403),
        ("/keys", httpx.Response(200, json={"keys": [{"kty": "new"}]}), 403),
        ("/.well-known/openid-configuration", httpx.Response(503), 503),
        ("/.well-known/openid-configuration", httpx.Response(200, json={"issuer": ISSUER}), 503),
        (
            "/.well-known/openid-configuration",
            httpx.Response(200, json={**METADATA, "issuer": "https://login.example.org"}),
            503,
        ),
    ],
)
async def test_provider_that_answers_otherwise_is_away(
    path: str, answer: httpx.Response, status: int
):
    """And it is asked again, once it answers as it should."""
    fake = FakeProvider()
    fake.answers[path] = answer
    assert await status_of(fake) == status
    if path.startswith("/.well"):
        fake.answers.clear()
        assert await status_of(fake) == 200


@pytest.mark.parametrize(
    ("secret", "query", "status"),
    [
        ("", {}, 400),
        ("another", {}, 400),
        (SECRET, {"state": ""}, 400),
        (SECRET, {"state": "\u011f"}, 400),
        (SECRET, {"iss": "https://login.example.org"}, 400),
        (SECRET, {"iss": ISSUER}, 200),
        (SECRET, {"error": "access_denied"}, 403),
    ],
)
async def test_answer_counts_in_the_browser_that_asked(
    secret: str, query: dict[str, str], status: int
):
    """By its cookie; and only of the provider that it was sent to."""
    fake = FakeProvider()
    assert await status_of(fake, secret, **query) == status
    posted = [one for one in fake.asked if one.method == "POST"]
    assert bool(posted) is (status == 200)
