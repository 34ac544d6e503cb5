"""What the intake answers where it cannot take something: problem details of RFC 9457.

Each names the place and the cure, and none quotes what was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from izin.consent.errors import OurError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from izin.consent.violations import Violation

_MEDIA_TYPE = "application/problem+json"


class IntakeShutError(OurError):
    """Nobody may speak here until the operator lets somebody."""


class IntakeProblem(SourceError):  # noqa: N818  # a problem in RFC 9457's sense
    """Ends a request with a problem document: what was sent cannot be taken so."""

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
    """Return the violations of the statement at ``place``, with a JSON pointer each, in which a
    field bears the sender's name of it.
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
    """Return the step to ``name`` in a JSON pointer (RFC 6901); none where nothing is named."""
    return f"/{name.replace('~', '~0').replace('/', '~1')}" if name else ""


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """Return the problem document as a response."""
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
