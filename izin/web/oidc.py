"""Signing in at an identity provider by OpenID Connect: what somebody is called there.

It is the authorization code flow with PKCE (RFC 7636). State, nonce and verifier are derived from a
random text that one browser has as a cookie: a code that another browser was given is worth nothing
here, and nothing is stored. What the provider publishes of itself is read again every hour, and its
keys once more where a token has one that is not known.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from izin.runtime.logs import get_logger
from izin.runtime.settings import ConsoleSettings
from izin.web.visit import RefusedVisitError

BACK = "/sign-in/oidc/back"
"""Where the provider sends a browser back to: the redirect URI to register there."""
_DISCOVERY = "/.well-known/openid-configuration"
_NEEDED = frozenset({"authorization_endpoint", "token_endpoint", "jwks_uri"})
_KEPT = timedelta(hours=1)
_TIMEOUT = 10.0
_SKEW = 60
"""Seconds by which the clocks of both may differ."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Asymmetric ones alone: with others whoever knows a public key could sign."""
_AWAY = "Your organisation's sign-in does not answer. Try again soon, or use a password."
_STALE = "This sign-in took too long, or began in another browser; begin again."
_ENDED = "Your organisation did not sign you in."
_WRONG = "What your organisation's sign-in says cannot be trusted. Tell an administrator."
_UNVERIFIED = "Your organisation has not verified your e-mail address. Ask its administrator."
_log = get_logger(__name__)


class Provider:
    """The identity provider of the settings."""

    def __init__(
        self,
        settings: ConsoleSettings,
        clock: Callable[[], datetime],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        secret = settings.oidc_client_secret
        # Encoded, as RFC 6749 (2.3.1) says of this header.
        self._auth = (
            quote(self._client_id, ""),
            quote(secret.get_secret_value() if secret else "", ""),
        )
        self._claim = settings.oidc_claim
        self._needed = {self._claim, "email_verified"} if self._claim == "email" else {self._claim}
        self._back = f"{settings.origin}{BACK}"
        self._clock = clock
        self._transport = transport
        self._kept: dict[str, tuple[datetime, dict[str, Any]]] = {}

    async def address(self, secret: str) -> str:
        """Return where a browser signs in, that has the text ``secret``.

        Raises:
            RefusedVisitError: the provider does not answer.
        """
        return str(
            prepare_grant_uri(
                (await self._metadata())["authorization_endpoint"],
                client_id=self._client_id,
                response_type="code",
                redirect_uri=self._back,
                scope="openid email" if self._claim == "email" else "openid profile",
                state=_derived(secret, "state"),
                nonce=_derived(secret, "nonce"),
                code_challenge=create_s256_code_challenge(_derived(secret, "verifier")),
                code_challenge_method="S256",
            )
        )

    async def name(self, secret: str, query: Mapping[str, str]) -> str:
        """Return what the provider calls whom it has sent back with ``query``.

        Raises:
            RefusedVisitError: it did not sign that browser in, does not answer, or says what cannot
                be trusted.
        """
        state = query.get("state", "").encode()
        is_ours = hmac.compare_digest(state, _derived(secret, "state").encode())
        if not secret or not is_ours or query.get("iss", self._issuer) != self._issuer:
            raise RefusedVisitError(400, _STALE)
        if "error" in query:
            raise RefusedVisitError(403, _ENDED)
        metadata = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": query.get("code", ""),
            "redirect_uri": self._back,
            "code_verifier": _derived(secret, "verifier"),
        }
        given = await self._call("POST", metadata["token_endpoint"], data=form, auth=self._auth)
        try:
            claims = await self._claims(metadata, given, _derived(secret, "nonce"))
        except (JoseError, KeyError, TypeError, ValueError) as error:
            _log.warning("identity token refused", error=type(error).__name__)
            raise RefusedVisitError(403, _WRONG) from None
        if self._claim == "email" and claims.get("email_verified") is not True:
            raise RefusedVisitError(403, _UNVERIFIED)
        return str(claims.get(self._claim, ""))

    async def _claims(
        self, metadata: Mapping[str, Any], given: Mapping[str, Any], nonce: str
    ) -> dict[str, Any]:
        """Return what a verified token says, and beside it what only the provider's user info has.

        Raises:
            JoseError: the token is not of this provider, for this console and this browser, or has
                expired; other errors, where it is none.
        """
        token, keys = given["id_token"], metadata["jwks_uri"]
        try:
            read = jwt.decode(token, await self._keys(keys), algorithms=_ALGORITHMS)
        except InvalidKeyIdError:
            keys = await self._keys(keys, is_renewed=True)
            read = jwt.decode(token, keys, algorithms=_ALGORITHMS)
        verified = CodeIDToken(
            read.claims,
            read.header,
            {
                "iss": {"essential": True, "value": self._issuer},
                "aud": {"essential": True, "value": self._client_id},
            },
            {"nonce": nonce, "client_id": self._client_id, "access_token": given["access_token"]},
        )
        verified.validate(now=int(self._clock().timestamp()), leeway=_SKEW)
        claims = dict[str, Any](verified)
        if claims.keys() >= self._needed or "userinfo_endpoint" not in metadata:
            return claims
        more = await self._call(
            *("GET", metadata["userinfo_endpoint"]),
            headers={"Authorization": f"Bearer {given['access_token']}"},
        )
        return {**more, **claims} if more.get("sub") == claims["sub"] else claims

    async def _metadata(self) -> dict[str, Any]:
        found = await self._document(f"{self._issuer.rstrip('/')}{_DISCOVERY}")
        if found.get("issuer") != self._issuer or not found.keys() >= _NEEDED:
            _log.warning("identity provider not usable", error="it says that it is another issuer")
            self._kept.clear()
            raise RefusedVisitError(503, _AWAY)
        return found

    async def _keys(self, url: str, *, is_renewed: bool = False) -> KeySet:
        found = await self._document(url, is_renewed=is_renewed)
        return KeySet.import_key_set(cast("Any", found))

    async def _document(self, url: str, *, is_renewed: bool = False) -> dict[str, Any]:
        kept = self._kept.get(url)
        if kept is None or is_renewed or self._clock() - kept[0] > _KEPT:
            self._kept[url] = kept = (self._clock(), await self._call("GET", url))
        return kept[1]

    async def _call(self, method: str, url: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # as httpx takes it
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT, transport=self._transport) as client:
                answer = await client.request(method, url, **more)
            if method == "POST" and answer.status_code == httpx.codes.BAD_REQUEST:
                raise RefusedVisitError(400, _STALE)  # a code is good once, and not for long
            found = answer.raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            _log.warning("identity provider not usable", url=url, error=type(error).__name__)
            raise RefusedVisitError(503, _AWAY) from None
        if not isinstance(found, dict):
            raise RefusedVisitError(503, _AWAY)
        return found


def _derived(secret: str, what: str) -> str:
    """Return a text that nobody derives from another of the same secret."""
    return hmac.new(secret.encode(), what.encode(), hashlib.sha256).hexdigest()
