"""Tokens (OAUTHBEARER) for aiokafka's clients.

aiokafka has no way of its own to request a token, so it is given a provider.
"""

import time
from collections.abc import Callable

import httpx
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError

from izin.runtime.setting_rules.checks import authorities
from izin.runtime.settings import KafkaSettings

_TIMEOUT = 10.0
_RENEWED_AFTER = 0.8
"""The fraction of its lifetime after which a token is not used for another connection."""


class TokenProvider(AbstractTokenProvider):
    """Requests tokens by the grant ``client_credentials``, and keeps one while it is fresh."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        secret = settings.oauth_client_secret
        self._url = settings.oauth_token_url or ""
        self._auth = (settings.oauth_client_id or "", secret.get_secret_value() if secret else "")
        self._form = {"grant_type": "client_credentials"}
        if settings.oauth_scope is not None:
            self._form["scope"] = settings.oauth_scope
        self._verify = authorities("KAFKA_SASL_OAUTHBEARER_CA_FILE", settings.oauth_ca_file)
        self._clock = clock
        self._transport = transport
        self._token = ""
        self._fresh_until = -1.0

    async def token(self) -> str:
        """Return a token.

        Raises:
            AuthenticationFailedError: the endpoint gives none. The driver connects again later.
        """
        if self._clock() >= self._fresh_until:
            await self._request()
        return self._token

    async def _request(self) -> None:
        requested_at = self._clock()
        try:
            async with httpx.AsyncClient(
                verify=self._verify, timeout=_TIMEOUT, transport=self._transport
            ) as client:
                answer = await client.post(self._url, data=self._form, auth=self._auth)
            answer.raise_for_status()
            given = answer.json()
            self._token = str(given["access_token"])
            lifetime = float(given.get("expires_in", 0))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            # Without its text: that of a wrong answer may have the token in it.
            kind = type(error).__name__
            raise AuthenticationFailedError(
                f"no token from {self._url} ({kind}); are the settings KAFKA_SASL_OAUTHBEARER_… "
                "right?"
            ) from None
        self._fresh_until = requested_at + _RENEWED_AFTER * lifetime
