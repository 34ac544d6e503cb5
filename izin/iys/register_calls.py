"""The calls about single recipients in İYS's register: its own history of a key, and reject links
(reference 2.6, 2.13).

A history has every movement of a key that İYS holds, whoever made it, and is limited to a hundred
calls an hour and address (H089). It is returned as İYS wrote it, byte for byte, for it is kept as
evidence; what cannot be read as a history of that key is refused, so that nothing else is kept.

A reject link (E-posta Ret Linki) lets whoever has it withdraw a consent (ONAY) by e-mail at İYS
itself, without signing in, for 90 days. Asking again makes another one and changes nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from izin.consent import Channel, RecipientType
from izin.iys.errors import UnreadableError
from izin.iys.exchange import Call, Exchange, Method
from izin.iys.rate_limit import HISTORY
from izin.iys.wire_format import (
    BrandPath,
    IysMovement,
    JsonReader,
    lower_case_email,
    parse_json,
    read_each,
    readers,
)

MAX_LINKS: Final = 100
"""The most recipients of one call for reject links (H127)."""
_MOST: Final = 1000
"""More movements than any key has: a history that does not end is refused."""


@dataclass(frozen=True, slots=True)
class RegisterCalls:
    """The calls about single recipients."""

    exchange: Exchange

    async def history(
        self, brand: BrandPath, channel: Channel, recipient_type: RecipientType, recipient: str
    ) -> tuple[str, ...]:
        """Return İYS's own history of a key as it answers it: the texts of its pages, whose UTF-8
        has the bytes of the answers.

        Raises:
            UnreadableError: an answer is no history, is of another key, or lacks movements.
            ThrottledError: the hour's histories are spent (H089).
        """
        whose = {"recipient": recipient, "recipientType": recipient_type, "type": channel}
        key = (lower_case_email(recipient), recipient_type, channel)
        pages: list[str] = []
        found, total = 0, 1
        while found < total:
            content = bytearray()
            call = Call(
                method=Method.POST,
                path=f"{brand}/consents/history",
                name=HISTORY,
                body={name: str(value) for name, value in whose.items()},
                query={"limit": "100", "offset": str(found)},  # H186: no more
            )
            await self.exchange.download(call, content.extend)
            pages.append(content.decode(errors="replace"))
            reader = JsonReader(parse_json(bytes(content)))
            # Without its count an error in place of a history would pass for an empty one.
            total = JsonReader(reader.raw("pagination")).integer("totalCount")
            page, unreadable = read_each(reader.raw("list") or [], IysMovement.read)
            found += len(page)
            is_whole = (page or found >= total) and total <= _MOST and not unreadable
            is_ours = all((one.recipient, one.recipient_type, one.type) == key for one in page)
            if not (is_whole and is_ours) or "\N{REPLACEMENT CHARACTER}" in pages[-1]:
                raise UnreadableError("an answer that is no whole history of its key")
        return tuple(pages)

    async def reject_links(
        self, brand: BrandPath, recipient_type: RecipientType, recipients: Collection[str]
    ) -> Mapping[str, tuple[str, str]]:
        """Return for 1 to 100 e-mail addresses, in lower case, the reject link of each, and the
        code that says why there is none; the other one is empty. H568: İYS holds no consent.

        Raises:
            UnreadableError: İYS left one out, or answered for others.
        """
        if not 1 <= len(recipients) <= MAX_LINKS:
            raise ValueError(f"links are for 1 to {MAX_LINKS} recipients, not {len(recipients)}")
        asked = [{"recipient": one, "recipientType": str(recipient_type)} for one in recipients]
        found = await self.exchange.call(
            Call(
                method=Method.POST,
                path=f"{brand}/via-hash-links",
                name="reject_links",
                body={"recipients": asked},
            ),
            lambda answer: {
                one.recipient(): (one.text_or_none("url") or "", one.code() or "")
                for one in readers(answer)
            },
        )
        if found.keys() != set(recipients) or not all(
            bool(url) ^ bool(code) for url, code in found.values()
        ):
            raise UnreadableError("reject links of other recipients, or neither link nor code")
        return found
