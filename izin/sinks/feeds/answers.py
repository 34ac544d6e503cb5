"""What a feed answers: pages, and the problems that a client can do something about.

This table of problems is read by the endpoint and the docs.
"""

from collections.abc import Mapping
from enum import Enum

from starlette.responses import Response

from izin.runtime.http_server.problems import ProblemText, RequestRefusedError

RETRY_AFTER_SECONDS = 5


class FeedRefusal(ProblemText, Enum):
    """Why a feed does not answer with a page."""

    CURSOR = ProblemText(
        400,
        "Cursor not usable",
        "after is no cursor of this endpoint; send next of its last page as it came",
    )
    TOKEN = ProblemText(
        400,
        "Token of another installation",
        "at_least names no records of this installation; send it to the one whose intake gave it",
    )
    FOREIGN = ProblemText(
        410,
        "Cursor of another topic",
        "the topic or its cluster is not the one that after is of; begin again without after, and "
        "take in what comes as it is, for what was stored before may be outdated",
    )
    DELETED = ProblemText(
        410,
        "Cursor too old",
        "retention has deleted what follows after, so records would be missing; begin again "
        "without after, and load the permissions again: they have each recipient's present state",
    )
    EXPIRED = ProblemText(
        410,
        "Cursor too old",
        "after was last at the end more than a day ago, so deletions may be missing; begin a new "
        "snapshot without after, and drop what it does not have",
    )
    STALE = ProblemText(
        503,
        "Not reflected yet",
        "what at_least names is not processed yet; send this again",
    )
    BUSY = ProblemText(503, "Busy", "too many requests read older records at once; send this again")
    UNREACHABLE = ProblemText(
        503,
        "Kafka does not answer",
        "nothing can be said about new records now; send this again",
    )

    def error(self, detail: str = "") -> RequestRefusedError:
        """Return this refusal as an error; ``detail`` is added in brackets."""
        status, title, text = self.value
        is_ours = status >= 500  # noqa: PLR2004  # HTTP's class of our own faults
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if is_ours else None
        return RequestRefusedError(status, title, f"{text} ({detail})" if detail else text, headers)


PAGE_FIELDS: Mapping[str, str] = {
    "items": "The records, in the order of each key.",
    "next": "The cursor behind this page: keep it with what you stored, and send it as after.",
    "complete": "Whether everything is read that was there when reading began without after.",
    "reflects": "Only with at_least: whether everything that the token names is read. Where it is "
    "false, there are more pages before.",
}


def page(items: list[bytes], cursor: str, *, complete: bool, reflects: bool | None) -> Response:
    """Return a page of ``items``, each a JSON object; ``reflects`` is None without a token."""
    flags = [b'"complete":' + _json(complete)]
    if reflects is not None:
        flags.append(b'"reflects":' + _json(reflects))
    body = b'{"items":[%b],"next":"%b",%b}' % (b",".join(items), cursor.encode(), b",".join(flags))
    # Recipients are personal data: no cache between us and the client keeps them.
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def _json(value: bool) -> bytes:
    return b"true" if value else b"false"
