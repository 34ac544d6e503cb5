"""What a link carries, sealed in its path by Fernet (AES-128-CBC, HMAC-SHA256).

The newest secret seals; all that are kept open, so that links in old mails go on to work.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from izin.consent import Channel, RecipientType, SourceError, read_recipient
from izin.runtime.errors import SettingError

VARIABLE: Final = "IZIN_LINK_SECRETS"
OPT_OUT: Final = "/v1/opt-out/"
"""The path in front of a sealed link."""
_SHORTEST: Final = 32
_STEP: Final = 96
"""Bytes: links of all usual recipients are of one length, which so says nothing of them."""


class BrokenLinkError(SourceError):
    """A link that was cut or changed, or whose secret is not kept any more."""

    def __init__(self) -> None:
        super().__init__("the link cannot be opened: it was cut or changed, or its secret is gone")


class LinkKeys:
    """The secrets under which links are sealed, the newest first."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Raise SettingError where there is none, or one is short."""
        if not secrets or any(len(secret) < _SHORTEST for secret in secrets):
            raise SettingError(
                f"{VARIABLE}: give a JSON list of secrets, the newest first, each of {_SHORTEST} "
                "characters or more; the same for the intake and for whoever makes links"
            )
        keys = (hashlib.sha256(b"izin link\0" + secret.encode()).digest() for secret in secrets)
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    def seal(self, content: Mapping[str, Any], at: datetime | None = None) -> str:
        """Return ``content``, JSON, as a part of a path, sealed ``at`` an instant, else now."""
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        padded = text.ljust(-(-len(text) // _STEP) * _STEP)
        instant = datetime.now(UTC) if at is None else at
        return self._fernet.encrypt_at_time(padded, int(instant.timestamp())).decode()

    def open(self, sealed: str) -> Mapping[str, Any]:
        """Return what was sealed; raises BrokenLinkError.

        A link has one text: base64 is read leniently, and an altered text of the same link would
        pass for another act of the person.
        """
        try:
            if base64.urlsafe_b64encode(base64.urlsafe_b64decode(sealed)).decode() != sealed:
                raise BrokenLinkError
            found: Mapping[str, Any] = json.loads(self._fernet.decrypt(sealed))
        except (InvalidToken, ValueError) as error:
            raise BrokenLinkError from error
        return found

    def sealed_at(self, sealed: str) -> datetime:
        """Return when a link was sealed; raises BrokenLinkError."""
        try:
            return datetime.fromtimestamp(self._fernet.extract_timestamp(sealed), UTC)
        except (InvalidToken, ValueError) as error:
            raise BrokenLinkError from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutLink:
    """What an opt-out link means."""

    brand_code: int
    channel: Channel
    recipients: Mapping[Channel, str]
    """Of this channel, and of the others that "everything" means."""
    recipient_type: RecipientType = RecipientType.BIREYSEL

    @classmethod
    def opened(cls, keys: LinkKeys, sealed: str) -> Self:
        """Return what ``sealed`` means; raises BrokenLinkError."""
        found = keys.open(sealed)
        try:
            return cls(
                brand_code=found["b"],
                channel=Channel(found["c"]),
                recipients={Channel(name): text for name, text in found["r"].items()},
                recipient_type=RecipientType(found["t"]),
            )
        except (KeyError, ValueError, AttributeError) as error:
            raise BrokenLinkError from error

    def sealed(self, keys: LinkKeys) -> str:
        """Return it as a part of a path."""
        return keys.seal(
            {
                "b": self.brand_code,
                "c": self.channel,
                "r": self.recipients,
                "t": self.recipient_type,
            }
        )


def opt_out_link(  # noqa: PLR0913  # what a link says
    keys: LinkKeys,
    url: str,
    *,
    brand_code: int,
    channel: str,
    recipient: str,
    others: Sequence[str] = (),
    recipient_type: str = RecipientType.BIREYSEL,
) -> str:
    """Return the link by which ``recipient`` opts out, under the ``url`` of the intake.

    With it "everything of this brand" is meant of ``others`` too, addresses and numbers of the same
    person. Of a number that is calls and text messages.

    Raises:
        SourceError: an address or number cannot be used.
    """
    named = Channel(channel)
    recipients = {named: recipient}
    for text in (recipient, *others):
        for one in Channel:
            if isinstance(read_recipient(text, one), str):
                recipients.setdefault(one, text)
    if not isinstance(read_recipient(recipient, named), str):
        raise SourceError(f"the recipient is none of the channel {named}; correct it")
    link = OptOutLink(
        brand_code=brand_code,
        channel=named,
        recipients=recipients,
        recipient_type=RecipientType(recipient_type),
    )
    return f"{url.rstrip('/')}{OPT_OUT}{link.sealed(keys)}"
