"""The key of an HTTP request: ``Authorization: Bearer <key>``, checked before the body is read."""

from datetime import datetime
from typing import assert_never

from starlette.requests import Request

from izin.projections.api_keys.access import STALE_AFTER, Denied, decide
from izin.projections.api_keys.directory import ApiKeyDirectory
from izin.runtime.http_server.problems import ProblemText, RequestRefusedError
from izin.schemas.api_keys import ApiKey, Scope

_RETRY_AFTER = {"Retry-After": "5"}


def authorised(
    request: Request, directory: ApiKeyDirectory, scope: Scope, *, now: datetime
) -> ApiKey:
    """Return the key of ``request``, which has ``scope``.

    Raises:
        RequestRefusedError: 401 without a key that is valid now, 403 where it lacks the scope, 503
            while the keys are not known, or not well enough for this scope.
    """
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    key = directory.find(text.strip() if scheme.lower() == "bearer" else "")
    decided = decide(scope, directory.freshness, key, now)
    if isinstance(decided, ApiKey):
        return decided
    raise _refusal(decided, scope)


def refusals(scope: Scope) -> tuple[ProblemText, ...]:
    """Return how requests that need ``scope`` may be refused."""
    return tuple(
        _refusal(why, scope).text
        for why in Denied
        if why is not Denied.STALE or scope is not Scope.PUBLISH
    )


def _refusal(why: Denied, scope: Scope) -> RequestRefusedError:
    match why:
        case Denied.NOT_READ:
            return RequestRefusedError(
                503, "Starting", "the API keys are not read yet; send this again", _RETRY_AFTER
            )
        case Denied.UNKNOWN:
            return RequestRefusedError(
                401,
                "Not authorised",
                "send an API key that is valid: Authorization: Bearer izin_…; an operator makes "
                "one with izin keys create",
                {"WWW-Authenticate": "Bearer"},
            )
        case Denied.FORBIDDEN:
            return RequestRefusedError(
                403, "Not permitted", f"this key lacks the scope {scope}; use one that has it"
            )
        case Denied.STALE:
            return RequestRefusedError(
                503,
                "Keys not up to date",
                f"the end of the topic of API keys was not seen for "
                f"{STALE_AFTER.total_seconds():.0f} s, so {scope} waits; send this again",
                _RETRY_AFTER,
            )
        case never:
            assert_never(never)
