"""The headers of a request, by Standard Webhooks: its id, its instant, and a signature of both with
the body for each secret.
"""

import base64
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

from standardwebhooks import Webhook

SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""
_PREFIX = "whsec_"


def new_secret(chance: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a new secret in its textual form, ``whsec_`` and base64."""
    return _PREFIX + base64.b64encode(chance(SECRET_BYTES)).decode()


class Signer:
    """Signs with the secrets of one subscriber."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._webhooks = [Webhook(one) for one in texts]

    def headers(self, webhook_id: str, at: datetime, body: bytes) -> list[tuple[str, str]]:
        """Return the headers of an attempt at the instant ``at`` (UTC)."""
        text = body.decode()
        signatures = [one.sign(webhook_id, at, text) for one in self._webhooks]
        return [
            ("content-type", "application/json"),
            ("user-agent", "izin-webhooks"),
            ("webhook-id", webhook_id),
            ("webhook-timestamp", str(int(at.timestamp()))),
            ("webhook-signature", " ".join(signatures)),
        ]
