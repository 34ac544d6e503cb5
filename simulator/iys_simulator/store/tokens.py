"""Tokens: who gets one, and whom one belongs to.

Errors here are flat (`error`, `error_description`) with HTTP 400, wrong credentials included. A
refresh token is used once: the answer brings the next one. Access tokens look like JWTs and are
opaque.
"""

import base64
import secrets
from dataclasses import dataclass

import orjson

from iys_simulator.settings import Settings
from iys_simulator.store.accounts import Account, Directory
from iys_simulator.store.database import Database
from iys_simulator.store.documents import Shelf

_GRANTS = ("password", "refresh_token")


class OAuthError(Exception):
    """A flat refusal of the token method: `error` and `error_description`, HTTP 400."""

    def __init__(self, kind: str, description: str) -> None:
        super().__init__(kind, description)
        self.kind = kind
        self.description = description


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Whom a token speaks for, and until when (epoch seconds)."""

    account: Account
    expires: float


class TokenOffice:
    """Issues tokens and knows whom they belong to."""

    def __init__(self, directory: Directory, database: Database) -> None:
        self._directory = directory
        self._access = Shelf(database, "access token", str, Session)
        self._refresh = Shelf(database, "refresh token", str, Session)

    def answer(self, form: dict[str, object], now: float, settings: Settings) -> dict[str, object]:
        """Tell what a token request gets; `OAuthError` if it is refused."""
        grant = _text(form, "grant_type", _GRANT_WORDS)
        if grant not in _GRANTS:
            raise OAuthError(settings.unknown_grant, "Desteklenmeyen giriş yöntemi.")
        if grant == "refresh_token":
            return self._issue(self._refreshed(form, now, settings), now, settings)
        password = _text(form, "password", _PASSWORD_WORDS)
        username = _text(form, "username", _USERNAME_WORDS)
        account = self._directory.account_with(username, password)
        if account is None:
            raise OAuthError("invalid_request", "Kullanıcı kimlik bilgileri geçersiz.")
        if account.role != "API_USER":
            raise OAuthError("invalid_request", f"Beklenmeyen kullanıcı rolü: {account.role}.")
        return self._issue(account, now, settings)

    def account_of(self, authorization: str | None, now: float) -> Account | None:
        """Give the account behind a `Bearer` header, unless it is unknown or expired."""
        session = self._access.get(_bearer(authorization))
        if session is None or session.expires <= now:
            return None
        return self._directory.accounts.get(session.account.username)

    def expire(self, authorization: str | None) -> None:
        """Make the access token in a `Bearer` header void; its refresh token stays."""
        self._access.pop(_bearer(authorization), None)

    def clear(self) -> None:
        """Make all tokens void."""
        self._access.clear()
        self._refresh.clear()

    def _refreshed(self, form: dict[str, object], now: float, settings: Settings) -> Account:
        token = _text(form, "refresh_token", _REFRESH_WORDS)
        session = self._refresh.get(token)
        if settings.refresh_rotates:
            self._refresh.pop(token, None)
        if session is None or session.expires <= now:
            raise OAuthError("invalid_request", "Desteklenmeyen yenileme jetonu türü.")
        return session.account

    def _drop_expired(self, now: float) -> None:
        for shelf in (self._access, self._refresh):
            for token in [token for token, session in shelf.items() if session.expires <= now]:
                del shelf[token]

    def _issue(self, account: Account, now: float, settings: Settings) -> dict[str, object]:
        brands = [
            {"brandCode": str(brand.code), "name": brand.name}
            for brand in self._directory.brands_of(account.iys_code)
        ]
        claims = {
            "exp": int(now + settings.access_token_lifetime),
            "iat": int(now),
            "jti": secrets.token_hex(8),
            "realm_access": {"roles": ["API_USER", "offline_access", "uma_authorization"]},
            "brands": brands,
            "serviceProvider": {"iysCode": str(account.iys_code)},
            "preferred_username": account.username,
        }
        self._drop_expired(now)
        access = _looks_like_jwt("RS256", claims)
        refresh = _looks_like_jwt("HS256", {"jti": secrets.token_hex(8), "typ": "Refresh"})
        self._access[access] = Session(
            account=account, expires=now + settings.access_token_lifetime
        )
        self._refresh[refresh] = Session(
            account=account, expires=now + settings.refresh_token_lifetime
        )
        return {
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": int(settings.access_token_lifetime),
            "refresh_expires_in": int(settings.refresh_token_lifetime),
            "token_type": "bearer",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    """How İYS words a field that is missing, of a wrong type, or empty."""

    missing: str
    wrong_type: str
    empty: str


_GRANT_WORDS = _Words(
    missing="Giriş yöntemi belirtilmemiş.",
    wrong_type="Bilinmeyen giriş yöntemi.",
    empty="Giriş yöntemi boş olamaz.",
)
_REFRESH_WORDS = _Words(
    missing="Yenileme jetonu verilmemiş.",
    wrong_type="Desteklenmeyen yenileme jetonu türü.",
    empty="Yenileme jetonu boş olamaz.",
)
_PASSWORD_WORDS = _Words(
    missing="Şifre verilmemiş.",
    wrong_type="Desteklenmeyen şifre türü.",
    empty="Şifre boş bırakılamaz.",
)
_USERNAME_WORDS = _Words(
    missing="Kullanıcı adı verilmemiş.",
    wrong_type="Desteklenmeyen kullanıcı adı türü.",
    empty="Kullanıcı adı boş bırakılamaz.",
)


def _text(form: dict[str, object], name: str, words: _Words) -> str:
    if name not in form:
        raise OAuthError("invalid_request", words.missing)
    value = form[name]
    if not isinstance(value, str):
        raise OAuthError("invalid_request", words.wrong_type)
    if not value:
        raise OAuthError("invalid_grant", words.empty)
    return value


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _looks_like_jwt(algorithm: str, claims: dict[str, object]) -> str:
    header = {"alg": algorithm, "typ": "JWT"}
    parts = [
        base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode()
        for part in (header, claims)
    ]
    return ".".join([*parts, secrets.token_urlsafe(32)])
