"""Secrets that must be readable again, as the ledger has them: encrypted, or from before as text.

What only has to be recognized (API keys, the push password) is in the ledger as a hash. A token of
İYS and what signs webhooks are needed as they are, so they are encrypted with AES-256-GCM under a
key that the ledger does not have. The key's id stands before the ciphertext, so that keys are
replaced while processes run. The row is authenticated with it: a ciphertext that was copied to
another row is refused there.

A nonce is 96 random bits. That is safe for 2**32 encryptions under a key (NIST SP 800-38D, section
8.3); a token is renewed about twelve times a day.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from izin.ledger.record.errors import UndecryptableSecretError

_PREFIX = "aes256gcm:"
"""Migration 0004 has it too."""
_ID_BYTES = 4
_NONCE_BYTES = 12


class SecretKeys:
    """The keys of an installation by their ids: the first encrypts, all decrypt."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        """Take the keys of ``IZIN_SECRET_KEYS``."""
        decoded = [base64.b64decode(key.get_secret_value()) for key in keys]
        self._ciphers = {_id_of(key): AESGCM(key) for key in decoded}
        self.ids = tuple(self._ciphers)
        """Without any, secrets are stored as they are."""

    def encrypt(self, secret: str, row: str) -> str:
        """Return ``secret`` as ``row`` is to have it."""
        if not self.ids:
            return secret
        key_id, nonce = self.ids[0], secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._ciphers[key_id].encrypt(nonce, secret.encode(), row.encode())
        return f"{_PREFIX}{key_id}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, text: str, row: str) -> str:
        """Return the secret that ``row`` has as ``text``.

        Raises:
            UndecryptableSecretError: its key is missing here, or it is no secret of this row.
        """
        key_id = key_of_secret(text)
        if key_id is None:
            return text
        if key_id not in self._ciphers:
            raise UndecryptableSecretError(
                f"the secret of {row} is encrypted under key {key_id}, which IZIN_SECRET_KEYS does "
                "not have here; add it behind the first and restart the process, or where it is "
                "lost, replace the secret (docs/security.md)"
            )
        try:
            sealed = base64.b64decode(text.rpartition(":")[2], validate=True)
            return (
                self._ciphers[key_id]
                .decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row.encode())
                .decode()
            )
        except (InvalidTag, ValueError) as error:
            raise UndecryptableSecretError(
                f"the secret of {row} was not encrypted for it under key {key_id}: it was changed, "
                "or copied from another row; find out by whom, and replace it"
            ) from error

    def renew(self, text: str | None, row: str) -> str | None:
        """Return ``text`` encrypted under the first key; as it is where it is so already, or cannot
        be decrypted.
        """
        with suppress(UndecryptableSecretError):
            if text is not None and key_of_secret(text) not in self.ids[:1]:
                return self.encrypt(self.decrypt(text, row), row)
        return text


def key_of_secret(text: str) -> str | None:
    """Return the id of the key under which ``text`` is encrypted; None: it is readable."""
    return text.split(":")[1] if text.startswith(_PREFIX) else None


def _id_of(key: bytes) -> str:
    return hashlib.blake2b(b"izin secrets", key=key, digest_size=_ID_BYTES).hexdigest()
