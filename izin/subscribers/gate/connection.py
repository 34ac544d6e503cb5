"""The gate over HTTP: one attempt, and what its status means for whoever asks."""

import json
from http import HTTPStatus
from ssl import SSLContext

import httpx

from izin.schemas.may_send_api import PATH
from izin.subscribers.errors import (
    ApiKeyRefusedError,
    GateUnavailableError,
    NotPermittedError,
    QuestionRefusedError,
)

_TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_LONGEST_VERDICT = 512
"""Bytes of a verdict without its recipient, and more than any has."""
_LONGEST_ESCAPE = 6
"""Bytes of a character in JSON, as ``\\u0131``."""
_LONGEST_PROBLEM = 16 * 1024
_NO_GATE = "is the URL that of a gate, without a path?"
_DIGITS = 9
"""Of a header Retry-After: more are decades."""


class GateConnection:
    """Connections to one gate, kept open between requests."""

    def __init__(self, url: str, api_key: str, *, trusted: SSLContext, most: int) -> None:
        self._url = f"{url}{PATH}"
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
            transport=httpx.AsyncHTTPTransport(verify=trusted, limits=limits),
            timeout=None,  # noqa: S113  # the caller limits the whole question
            trust_env=False,  # or a .netrc would replace the key
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def post(self, body: bytes, recipients: int) -> bytes:
        """Return the answer to the request ``body``, which asks about so many ``recipients``.

        Raises:
            GateUnavailableError: there is none.
            ApiKeyRefusedError, NotPermittedError, QuestionRefusedError: the gate refuses it.
        """
        most = _LONGEST_ESCAPE * len(body) + _LONGEST_VERDICT * recipients + _LONGEST_PROBLEM
        try:
            async with self._client.stream("POST", self._url, content=body) as response:
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > most:
                        raise GateUnavailableError("the answer is too long", is_final=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GateUnavailableError(f"unreachable ({type(error).__name__})") from error
        if response.status_code != HTTPStatus.OK:
            raise _refusal(response, bytes(content))
        return bytes(content)


def _refusal(response: httpx.Response, content: bytes) -> Exception:
    status, detail = response.status_code, _detail(content)
    if status == HTTPStatus.UNAUTHORIZED:
        why = detail or "use a valid one: izin keys create"
        return ApiKeyRefusedError(f"the gate does not take the API key; {why}")
    if status == HTTPStatus.FORBIDDEN:
        why = detail or "use one with the scope: --scope ask"
        return NotPermittedError(f"the API key may not ask; {why}")
    if status < HTTPStatus.BAD_REQUEST:
        return GateUnavailableError(f"unreadable answer (status {status})", is_final=True)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TRANSIENT:
        if not detail or status == HTTPStatus.NOT_FOUND:
            detail = "; ".join(filter(None, (detail, _NO_GATE)))
        return QuestionRefusedError(f"the gate refuses the question (status {status}); {detail}")
    said = f": {detail}" if detail else ""
    return GateUnavailableError(
        f"status {status}{said}", retry_after=_seconds(response.headers.get("Retry-After"))
    )


def _detail(content: bytes) -> str:
    """Return the ``detail`` of a problem document; "" where it is none."""
    try:
        found = json.loads(content[:_LONGEST_PROBLEM])
    except ValueError:
        return ""
    detail = found.get("detail") if isinstance(found, dict) else None
    return detail if isinstance(detail, str) else ""


def _seconds(text: str | None) -> float | None:
    return float(text[:_DIGITS]) if text is not None and text.isdecimal() else None
