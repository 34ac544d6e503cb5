"""Access tokens: `POST /oauth2/token`."""

from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response

from iys_simulator.errors.messages import LIMIT_IN_SECTION
from iys_simulator.errors.responses import RefusedError, error, json_response
from iys_simulator.gateway.call import client_of
from iys_simulator.state import SimulatorState


async def issue_token(state: SimulatorState, request: Request, body: bytes) -> Response:
    """Issue a token: `POST /oauth2/token`, as JSON or as a form.

    Raises:
        RefusedError: H084, where the limit of the hour is exceeded.
        OAuthError: the credentials or the refresh token are refused.
    """
    settings, now = state.settings, state.clock.seconds()
    form = _form(request, body)
    is_refresh = form.get("grant_type") == "refresh_token"
    counts = settings.refresh_counts or not is_refresh
    limit, client = settings.token_limit, client_of(request)
    if counts and not state.limits.tokens.admits(client, now, limit, settings.hour):
        text = LIMIT_IN_SECTION if settings.h084_text == "section" else None
        is_flat = settings.h084_shape == "flat"
        raise RefusedError(429, [error("H084", message=text)], is_flat=is_flat)
    return json_response(state.tokens.issue(form, now, settings))


def _form(request: Request, body: bytes) -> dict[str, object]:
    """Return the fields; a body without any is refused as a request without a grant type."""
    if "json" not in request.headers.get("content-type", ""):
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    try:
        form = orjson.loads(body)
    except ValueError:
        form = None
    return form if isinstance(form, dict) else {}
