"""What the gate answers: verdicts, and the problems that a client can do something about.

This table of problems is read by the endpoint and the docs.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from izin.runtime.http_server.problems import ProblemText, RequestRefusedError

RETRY_AFTER_SECONDS = 1


class GateRefusal(ProblemText, Enum):
    """Why the gate does not answer with verdicts."""

    TOKEN = ProblemText(
        422,
        "Token of another installation",
        "/at_least names no topics of this installation; send it to the one whose intake or gate "
        "gave it",
    )
    STARTING = ProblemText(
        503, "Starting", "the gate has not read everything yet; send this again, or ask another"
    )
    BUSY = ProblemText(503, "Busy", "too many lists are judged at once; send this again")
    NO_RECEIPT = ProblemText(
        503,
        "Not kept",
        "Kafka does not acknowledge the receipt, so nothing is answered; send this again",
    )

    def error(self) -> RequestRefusedError:
        """Return this refusal as an error."""
        status, title, text = self.value
        is_ours = status >= 500  # noqa: PLR2004  # HTTP's class of our own faults
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if is_ours else None
        return RequestRefusedError(status, title, text, headers)


ANSWER_FIELDS: Mapping[str, str] = {
    "as_of": "The token of the state that was asked: everything up to it is in the answer.",
    "receipt": "The id of the receipt, or null where none was wanted.",
    "verdicts": "One for each recipient, in the order of the request.",
}
VERDICT_FIELDS: Mapping[str, str] = {
    "recipient": "As it was given.",
    "may_send": "Whether the message may be sent. Anything but true is a no.",
    "reason": "Why.",
    "violation": "Only where the recipient is no valid address: what is wrong (docs/codes.md).",
}


def answer(as_of: str, receipt_id: str | None, verdicts: Sequence[bytes]) -> list[bytes]:
    """Return the JSON of an answer in parts; ``verdicts`` are parts of it."""
    kept = b"null" if receipt_id is None else b'"%b"' % receipt_id.encode()
    start = b'{"as_of":"%b","receipt":%b,"verdicts":[' % (as_of.encode(), kept)
    return [start, *verdicts, b"]}"]
