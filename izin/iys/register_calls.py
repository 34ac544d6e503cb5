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
from typing import Final, NamedTuple, Self

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
_PAGE: Final = 100
"""The most movements of a page of a history (H186)."""
_LARGEST: Final = 256 * 1024
"""Bytes of a page; a movement has some 300."""
_MOST: Final = 1000
"""More movements than any key has: a history that does not end is refused."""


class RejectLink(NamedTuple):
    """What İYS answered for one recipient: a link, or the code that says why there is none."""

    url: str | None
    code: str | None
    """H568: İYS holds no consent (ONAY) of the recipient."""

    @classmethod
    def read(cls, reader: JsonReader) -> Self:
        """Return the answer in an item of the list."""
        url, code = reader.text_or_none("url"), reader.code()
        if (url is None) == (code is None):
            raise UnreadableError("a reject link without link and code, or with both")
        return cls(url, code)


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
        body = {
            "recipient": recipient,
            "recipientType": str(recipient_type),
            "type": str(channel),
        }
        key = (lower_case_email(recipient), recipient_type, channel)
        pages: list[str] = []
        found = total = 0
        while not pages or found < total:
            page, movements, total = await self._page(brand, body, found)
            if any((one.recipient, one.recipient_type, one.type) != key for one in movements):
                raise UnreadableError("a history with movements of another recipient or channel")
            pages.append(page)
            found += len(movements)
            if found < total and (not movements or total > _MOST):
                raise UnreadableError(f"a history of {total} movements that has {found}")
        return tuple(pages)

    async def _page(
        self, brand: BrandPath, body: Mapping[str, str], offset: int
    ) -> tuple[str, tuple[IysMovement, ...], int]:
        """Return a page of a history, what is in it, and how many movements the history has."""
        content = bytearray()

        def add(chunk: bytes) -> None:
            content.extend(chunk)
            if len(content) > _LARGEST:
                raise UnreadableError(f"a page of a history of more than {_LARGEST} bytes")

        call = Call(
            method=Method.POST,
            path=f"{brand}/consents/history",
            name=HISTORY,
            body=body,
            query={"limit": str(_PAGE), "offset": str(offset)},
        )
        await self.exchange.download(call, add)
        reader = JsonReader(self.exchange.look(HISTORY, parse_json(bytes(content))))
        movements, unreadable = read_each(reader.raw("list") or [], IysMovement.read)
        if unreadable:
            raise UnreadableError(f"a history with an unreadable movement: {unreadable[0].error}")
        # Without it an error in place of a history would pass for an empty one.
        total = JsonReader(reader.raw("pagination")).integer("totalCount")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise UnreadableError("a history that is not UTF-8") from None
        return text, movements, total

    async def reject_links(
        self, brand: BrandPath, recipient_type: RecipientType, recipients: Collection[str]
    ) -> Mapping[str, RejectLink]:
        """Return by e-mail address (in lower case) its reject link, for 1 to 100 of them.

        Raises:
            UnreadableError: İYS left one out, or answered for others.
        """
        unique = list(dict.fromkeys(map(lower_case_email, recipients)))
        if not 1 <= len(unique) <= MAX_LINKS:
            raise ValueError(f"links are for 1 to {MAX_LINKS} recipients, not {len(unique)}")
        call = Call(
            method=Method.POST,
            path=f"{brand}/via-hash-links",
            name="reject_links",
            body={
                "recipients": [
                    {"recipient": one, "recipientType": str(recipient_type)} for one in unique
                ]
            },
        )
        found = await self.exchange.call(
            call,
            lambda answer: {one.recipient(): RejectLink.read(one) for one in readers(answer)},
        )
        if found.keys() != set(unique):
            raise UnreadableError("reject links of other recipients than were asked for")
        return found
