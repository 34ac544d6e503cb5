"""Error responses: problem details by RFC 9457, which name the place and the remedy."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.responses import JSONResponse

from izin.consent.errors import SourceError

MEDIA_TYPE = "application/problem+json"


class ProblemText(NamedTuple):
    """Status, title and detail of a problem document, as the docs name them too."""

    status: int
    title: str
    detail: str


class RequestRefusedError(SourceError):
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

    @property
    def text(self) -> ProblemText:
        """What the problem document says."""
        return ProblemText(self.status, self.title, self.detail)


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
        media_type=MEDIA_TYPE,
    )
