"""What the gate and its clients both know of ``POST /v1/may-send``."""

from izin.consent import TextEnum

PATH = "/v1/may-send"
MOST_RECIPIENTS = 100_000
"""Of one request."""
LONGEST_TEXT = 200
"""Characters of the name of a campaign, or of the basis of a class."""


class ReceiptKind(TextEnum):
    """How an answer is kept, so that it can be shown later."""

    LIST = "list"
    """One record with counts and a digest of all answers."""
    DECISION = "decision"
    """A record for each recipient."""


def digest_line(key: str, reason: str) -> bytes:
    """Return what the digest of a list covers for one recipient: its canonical key, or what was
    given in place of a valid address, and the reason of the answer.
    """
    return f"{key}\t{reason}\n".encode()
