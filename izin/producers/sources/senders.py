"""What proves the sender of a delivery: a signature of its bytes, or at least a secret.

A system may have several secrets at once, each in a line of its file, so that one is replaced
without a gap: any of them proves the sender. A signature that covers an instant proves for a while
only (``tolerance``, five minutes): a delivery that somebody has recorded is of no use later.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import BaseModel, ConfigDict

from izin.consent import SourceError
from izin.producers.sources.payloads import NOTHING, Delivery, place_of
from izin.runtime.http_server.problems import ProblemText
from izin.schemas.fast.writer import EPOCH

NOT_SIGNED: Final = ProblemText(
    401, "Not signed", "the delivery has not what proves its sender; the mapping names the place"
)
WRONG_SIGNATURE: Final = ProblemText(
    401,
    "Wrong signature",
    "none of the secrets of this source proves the sender; is the secret the same on both sides, "
    "and does the body arrive unchanged?",
)
LATE_SIGNATURE: Final = ProblemText(
    401,
    "Signature out of time",
    "the signature is of another time; it proves the sender only for a while, so that a recorded "
    "delivery is of no use; are both clocks right?",
)
PROOFS: Final = (NOT_SIGNED, WRONG_SIGNATURE, LATE_SIGNATURE)
_WEBHOOK_SECRET: Final = "whsec_"  # noqa: S105  # what one begins with


class SenderProof(BaseModel):
    """The ``[sender]`` of a mapping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["hmac", "ecdsa", "standard-webhooks", "secret"]
    """``secret``: the secret itself stands at ``signature``."""
    signature: str = "header:webhook-signature"
    """Where the signature is."""
    signed: tuple[str, ...] = ("body",)
    """What is signed, one place behind the other; a text in quotes (``'.'``) is itself."""
    digest: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    """What stands before the signature, such as ``sha256=``."""
    timestamp: str | None = None
    """Where the instant stands that is signed too, in seconds since 1970."""
    tolerance: int = 300
    """For how many seconds such a signature proves the sender, before and after the instant."""

    @property
    def is_timed(self) -> bool:
        """Whether a delivery proves its sender for a while only."""
        return self.timestamp is not None or self.kind == "standard-webhooks"

    def check(self) -> None:
        """Raise SourceError where a place of it is none."""
        for text in (self.signature, *self.signed, *filter(None, [self.timestamp])):
            if not _is_literal(text):
                place_of(text)
        if self.timestamp is not None and self.timestamp not in self.signed:
            raise SourceError(
                "sender: the timestamp is not among what is signed, so it proves none"
            )

    def refusal(
        self, delivery: Delivery, payload: object, secrets: Sequence[str], now: datetime
    ) -> ProblemText | None:
        """Return why ``delivery`` is not accepted at ``now``; None: one of ``secrets`` proves it.

        ``payload`` is what its body says, for those that sign in it.
        """
        if self.kind == "standard-webhooks":
            return _STANDARD.refusal(delivery, payload, secrets, now)
        given = self._text(self.signature, delivery, payload)
        if not given:
            return NOT_SIGNED
        if self.timestamp is not None:
            instant = self._text(self.timestamp, delivery, payload).decode("ascii", "replace")
            if not (instant.isascii() and instant.isdigit() and len(instant) < len("1" * 12)):
                return NOT_SIGNED
            away = abs(now - EPOCH - timedelta(seconds=int(instant)))
            if away > timedelta(seconds=self.tolerance):
                return LATE_SIGNATURE
        signed = b"".join(self._text(one, delivery, payload) for one in self.signed)
        proven = [self._proves(one, given, signed) for one in secrets]
        return None if any(proven) else WRONG_SIGNATURE

    def _text(self, place: str, delivery: Delivery, payload: object) -> bytes:
        if _is_literal(place):
            return place[1:-1].encode()
        found = place_of(place).find(delivery, payload, payload)
        if isinstance(found, bytes):
            return found
        return b"" if found is NOTHING else str(found).encode("utf-8", "surrogateescape")

    def _proves(self, secret: str, given: bytes, signed: bytes) -> bool:
        if self.kind == "secret":
            return hmac.compare_digest(secret.encode(), given.removeprefix(self.prefix.encode()))
        candidates = [one.removeprefix(self.prefix.encode()) for one in given.split()]
        if self.kind == "ecdsa":
            return any(_is_signed(secret, one, signed) for one in candidates)
        keyed = _keyed(secret, self.digest).copy()
        keyed.update(signed)
        digest = keyed.digest()
        own = digest.hex().encode() if self.encoding == "hex" else base64.b64encode(digest)
        return any(hmac.compare_digest(own, one) for one in candidates)


_STANDARD: Final = SenderProof(
    kind="hmac",
    signed=("header:webhook-id", "'.'", "header:webhook-timestamp", "'.'", "body"),
    encoding="base64",
    prefix="v1,",
    timestamp="header:webhook-timestamp",
)
"""https://www.standardwebhooks.com: also what we send ourselves."""


def _is_literal(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == "'"


@lru_cache(maxsize=256)
def _keyed(secret: str, digest: str) -> hmac.HMAC:
    """Return the HMAC of nothing, to be copied: to begin one takes longer than the rest of it."""
    return hmac.new(_key(secret), digestmod=digest)


def _key(secret: str) -> bytes:
    """Return the bytes of a secret: as Standard Webhooks write it, or the text itself."""
    if secret.startswith(_WEBHOOK_SECRET):
        try:
            return base64.b64decode(secret.removeprefix(_WEBHOOK_SECRET), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def _is_signed(public_key: str, signature: bytes, signed: bytes) -> bool:
    """Whether ``signature`` (base64) is that of the holder of a key (DER in base64)."""
    try:
        key = load_der_public_key(base64.b64decode(public_key))
        if not isinstance(key, EllipticCurvePublicKey):
            return False
        key.verify(base64.b64decode(signature), signed, ECDSA(SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True
