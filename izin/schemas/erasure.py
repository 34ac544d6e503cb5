"""Erasure of a key (6698 m.7), and what it suppresses.

An erasure is an event of its key like any other: it has its place among them, and after it nothing
of the key is left. An opt-in given no later would bring the person back (an old file, a replay), so
it is suppressed. A later one counts, for the person gave it since; an opt-out always does.

What is kept to know this is the keyed digest of the key. It is pseudonymous data: whoever has the
secret can test whether a person was erased, and nobody else can.
"""

import hashlib
from collections.abc import Sequence

ERASURE = "ERASURE"
"""The status of an event, and of the decision on it, that erases its key."""
ORIGIN = "izin-privacy"
"""The origin of such an event."""
ERASED, KNOWN_AGAIN = "erased", "known-again"
"""Why a decision was made on an erasure: nothing is left of the key, or a later event is."""
SUPPRESSED = b"suppressed/"
"""How the keys of suppressions begin; a canonical key begins with a digit."""
_PERSON = "person/"
"""How the keys of looks at a person begin, in the history."""
SHORTEST_SECRET = 32
"""The characters that a secret has at least."""
_DIGEST = 16
_VERSION = 4


def _digest(secret: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(key, key=_bounded(secret), digest_size=_DIGEST).hexdigest().encode()


def _prefix(secret: bytes) -> bytes:
    version = hashlib.blake2b(
        b"izin suppressions", key=_bounded(secret), digest_size=_VERSION
    ).hexdigest()
    return SUPPRESSED + version.encode() + b"/"


def _bounded(secret: bytes) -> bytes:
    """Return ``secret`` as BLAKE2b takes it: 64 bytes at most."""
    return (
        secret if len(secret) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.sha512(secret).digest()
    )


class SuppressionKeys:
    """The keys of suppressions under the secrets of an installation, the newest first.

    The version of a secret is a digest of it, so that a suppression shows under which it was made.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self.prefixes = tuple(map(_prefix, self._secrets))
        """How the keys under each secret begin, up to the last slash inclusive."""

    def __bool__(self) -> bool:
        """Whether there is a secret."""
        return bool(self._secrets)

    def of(self, key: bytes) -> bytes:
        """Return the key of the suppression of a canonical ``key``, under the newest secret."""
        return self.prefixes[0] + _digest(self._secrets[0], key)

    def every(self, key: bytes) -> list[bytes]:
        """Return the keys under which ``key`` may be suppressed."""
        return [
            prefix + _digest(secret, key)
            for prefix, secret in zip(self.prefixes, self._secrets, strict=True)
        ]

    def people(self, recipient: str) -> list[str]:
        """Return the keys of looks at a ``recipient``, alone or in a canonical key, in the history:
        under each secret.
        """
        person = f"{_PERSON}{recipient.split('/', 3)[-1]}".encode()
        return [_PERSON + one.removeprefix(SUPPRESSED).decode() for one in self.every(person)]


NO_SUPPRESSIONS = SuppressionKeys()
"""Of an installation without a secret: nothing can be erased there."""
