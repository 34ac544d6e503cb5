"""Tokens: who is issued one, and which account one belongs to.

Errors are flat (`error`, `error_description`) with HTTP 400, including those for wrong credentials.
A refresh token is used once: the response contains the next one. Access tokens look like JWTs and
are opaque.
"""

import base64
import secrets
from dataclasses import dataclass

import orjson

from iys_simulator.settings import Settings
from iys_simulator.store.accounts import Account, Directory
from iys_simulator.store.database import Database
from iys_simulator.store.documents import DocumentMap

_GRANTS = ("password", "refresh_token")


class OAuthError(Exception):
    """The token endpoint refuses: `error` and `error_description`, with HTTP 400."""

    def __init__(self, kind: str, description: str) -> None:
        super().__init__(kind, description)
        self.kind = kind
        self.description = description


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The account of a token, and when the token expires (epoch seconds)."""

    account: Account
    expires: float


class TokenStore:
    """Issues tokens and finds the account of a token."""

    def __init__(self, directory: Directory, database: Database) -> None:
        self._directory = directory
        self._access = DocumentMap(database, "access token", str, Session)
        self._refresh = DocumentMap(database, "refresh token", str, Session)

    def issue(self, form: dict[str, object], now: float, settings: Settings) -> dict[str, object]:
        """Return the response to a token request.

        Raises:
            OAuthError: the request is refused.
        """
        grant = _text(form, "grant_type", _GRANT_MESSAGES)
        if grant not in _GRANTS:
            raise OAuthError(settings.unknown_grant, "Desteklenmeyen giriş yöntemi.")
        if grant == "refresh_token":
            return self._issue_to(self._refreshed(form, now, settings), now, settings)
        password = _text(form, "password", _PASSWORD_MESSAGES)
        username = _text(form, "username", _USERNAME_MESSAGES)
        account = self._directory.account_with(username, password)
        if account is None:
            raise OAuthError("invalid_request", "Kullanıcı kimlik bilgileri geçersiz.")
        if account.role != "API_USER":
            raise OAuthError("invalid_request", f"Beklenmeyen kullanıcı rolü: {account.role}.")
        return self._issue_to(account, now, settings)

    def account_of(self, authorization: str | None, now: float) -> Account | None:
        """Return the account of a `Bearer` header; None if its token is unknown or expired."""
        session = self._access.get(_bearer(authorization))
        if session is None or session.expires <= now:
            return None
        return self._directory.accounts.get(session.account.username)

    def expire(self, authorization: str | None) -> None:
        """Revoke the access token of a `Bearer` header; its refresh token stays valid."""
        self._access.pop(_bearer(authorization), None)

    def clear(self) -> None:
        """Revoke all tokens."""
        self._access.clear()
        self._refresh.clear()

    def _refreshed(self, form: dict[str, object], now: float, settings: Settings) -> Account:
        token = _text(form, "refresh_token", _REFRESH_MESSAGES)
        session = self._refresh.get(token)
        if settings.refresh_rotates:
            self._refresh.pop(token, None)
        if session is None or session.expires <= now:
            raise OAuthError("invalid_request", "Desteklenmeyen yenileme jetonu türü.")
        return session.account

    def _drop_expired(self, now: float) -> None:
        for tokens in (self._access, self._refresh):
            for token in [token for token, session in tokens.items() if session.expires <= now]:
                del tokens[token]

    def _issue_to(self, account: Account, now: float, settings: Settings) -> dict[str, object]:
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
class _FieldMessages:
    """İYS's messages for a field that is missing, of a wrong type, or empty."""

    missing: str
    wrong_type: str
    empty: str


_GRANT_MESSAGES = _FieldMessages(
    missing="Giriş yöntemi belirtilmemiş.",
    wrong_type="Bilinmeyen giriş yöntemi.",
    empty="Giriş yöntemi boş olamaz.",
)
_REFRESH_MESSAGES = _FieldMessages(
    missing="Yenileme jetonu verilmemiş.",
    wrong_type="Desteklenmeyen yenileme jetonu türü.",
    empty="Yenileme jetonu boş olamaz.",
)
_PASSWORD_MESSAGES = _FieldMessages(
    missing="Şifre verilmemiş.",
    wrong_type="Desteklenmeyen şifre türü.",
    empty="Şifre boş bırakılamaz.",
)
_USERNAME_MESSAGES = _FieldMessages(
    missing="Kullanıcı adı verilmemiş.",
    wrong_type="Desteklenmeyen kullanıcı adı türü.",
    empty="Kullanıcı adı boş bırakılamaz.",
)


def _text(form: dict[str, object], name: str, messages: _FieldMessages) -> str:
    if name not in form:
        raise OAuthError("invalid_request", messages.missing)
    value = form[name]
    if not isinstance(value, str):
        raise OAuthError("invalid_request", messages.wrong_type)
    if not value:
        raise OAuthError("invalid_grant", messages.empty)
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
