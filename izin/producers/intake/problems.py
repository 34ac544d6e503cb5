"""Error responses of the intake: problem details by RFC 9457.

Each names the place and the remedy, and none quotes what was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse

from izin.consent.errors import OurError, SourceError
from izin.consent.violations import Violation

_MEDIA_TYPE = "application/problem+json"


class IntakeDisabledError(OurError):
    """No token is configured, so nobody may post."""


class IntakeProblem(SourceError):  # noqa: N818  # a problem in RFC 9457's sense
    """A request that is answered with a problem document."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers


def as_json(
    violations: Sequence[Violation], place: str, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the violations of the record at ``place``, each with a JSON pointer; ``names`` are the
    sender's names of the fields.
    """
    return [
        {
            "pointer": place + _step(names.get(one.field, one.field)),
            "field": one.field,
            "code": one.code,
            "reason": one.reason,
            "reason_tr": one.reason_tr,
        }
        for one in violations
    ]


def _step(name: str) -> str:
    """Return ``name`` as a step of a JSON pointer (RFC 6901); empty for an empty name."""
    return f"/{name.replace('~', '~0').replace('/', '~1')}" if name else ""


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """Return a problem document as a response."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            **(members or {}),
        },
        status_code=status,
        headers=dict(headers or {}),
        media_type=_MEDIA_TYPE,
    )
