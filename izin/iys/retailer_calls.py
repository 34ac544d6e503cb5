"""The calls about retailers (bayi) of a brand, and about which consents each may use (reference
2.10, 2.11).

İYS carries out later what it accepts of a replacement or a removal (202), and says nowhere what
became of it. Who relies on it reads the list of each consent afterwards.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from izin.consent import Channel, RecipientType
from izin.iys.errors import UnreadableError
from izin.iys.exchange import Call, Exchange, Method
from izin.iys.wire_format import BrandPath, JsonReader, lower_case_email, readers

MAX_ACCESS: Final = 100
"""The most recipients, and the most retailers, of one call (H126, H127)."""
_MOST: Final = 100
"""Pages of a list: a brand has 3,000 retailers at most."""


class Retailer(NamedTuple):
    """A retailer of a brand, as a list has it."""

    code: int
    title: str
    status: str
    consents: int
    """How many it may use."""


class AccessGroup(NamedTuple):
    """Whose consents one call is about: recipients of one channel and type, 100 at most."""

    channel: Channel
    recipient_type: RecipientType
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetailerCalls:
    """The calls about retailers."""

    exchange: Exchange

    async def every(self, brand: BrandPath) -> tuple[Retailer, ...]:
        """Return the retailers of a brand, by code."""
        return await self.exchange.call(
            Call(
                method=Method.GET,
                path=f"{brand}/retailers",
                name="retailers",
                query={"all": "true", "short": "true"},
            ),
            lambda answer: tuple(
                Retailer(
                    one.integer("retailerCode"),
                    one.text("title"),
                    one.text("status"),
                    one.integer("retailerAccessCount"),
                )
                for one in readers(JsonReader(answer).raw("list") or [])
            ),
        )

    async def register(self, brand: BrandPath, retailer: Mapping[str, Any]) -> int:
        """Add a retailer, with İYS's own names; return the code that İYS gives it. İYS refuses
        another of the same number (H230, H231).
        """
        return await self.exchange.call(
            Call(
                method=Method.POST,
                path=f"{brand}/retailers",
                name="add_retailer",
                body=retailer,
                writes=True,
            ),
            lambda answer: JsonReader(answer).integer("retailerCode"),
        )

    async def delete(self, brand: BrandPath, code: int) -> None:
        """Delete a retailer that may use no consent (H061: it may)."""
        call = Call(
            method=Method.DELETE,
            path=f"{brand}/retailers/{code}",
            name="delete_retailer",
            is_text=True,
            writes=True,
        )
        await self.exchange.call(call, lambda _: None)

    async def access(
        self, brand: BrandPath, channel: Channel, recipient_type: RecipientType, recipient: str
    ) -> frozenset[int]:
        """Return the codes of the retailers that may use a consent, read page by page.

        Raises:
            UnreadableError: the list does not end.
        """
        body = {**_kind(channel, recipient_type), "recipient": recipient}
        found: set[int] = set()
        for _ in range(_MOST):
            page, total = await self.exchange.call(
                Call(
                    method=Method.POST,
                    path=f"{brand}/consent/retailers/access/list",
                    name="access_list",
                    body=body,
                    query={"offset": str(len(found)), "limit": str(MAX_ACCESS)},
                ),
                _page,
            )
            found |= page
            if len(found) >= total:
                return frozenset(found)
            if not page:
                break
        raise UnreadableError("a list of retailers that does not end")

    async def replace(
        self, brand: BrandPath, group: AccessGroup, retailers: Collection[int]
    ) -> None:
        """Let these retailers, 1 to 100, and no others use the consents of ``group``, whoever
        collected them.
        """
        body = {"retailerAccess": sorted(retailers)}
        await self._change(Method.PUT, brand, "access", "replace_access", group, body)

    async def remove(
        self, brand: BrandPath, group: AccessGroup, retailers: Collection[int]
    ) -> None:
        """Let these retailers, 100 at most, use the consents of ``group`` no longer; none are
        named: no retailer.
        """
        path = "access/remove" if retailers else "access/remove/all"
        body = {"retailerAccess": sorted(retailers)} if retailers else {}
        await self._change(Method.POST, brand, path, "remove_access", group, body)

    async def add(self, brand: BrandPath, group: AccessGroup, retailers: Collection[int]) -> None:
        """Let these retailers, 1 to 100, use the consent of the one recipient of ``group`` too."""
        (recipient,) = group.recipients
        body = {**_kind(*group[:2]), "recipient": recipient, "retailerAccess": sorted(retailers)}
        await self._sent(Method.POST, f"{brand}/consents/retailers/access", "add_access", body)

    async def _change(  # noqa: PLR0913, PLR0917  # a call
        self,
        method: Method,
        brand: BrandPath,
        path: str,
        name: str,
        group: AccessGroup,
        body: dict[str, Any],
    ) -> None:
        unique = [*dict.fromkeys(map(lower_case_email, group.recipients))]
        whose = {**_kind(*group[:2]), "recipients": unique}
        await self._sent(method, f"{brand}/consents/retailers/{path}", name, whose | body)

    async def _sent(self, method: Method, path: str, name: str, body: dict[str, Any]) -> None:
        # To do it again changes nothing, so an unknown outcome is no danger.
        call = Call(method=method, path=path, name=name, body=body, writes=True)
        await self.exchange.call(call, lambda _: None)


def _kind(channel: Channel, recipient_type: RecipientType) -> dict[str, str]:
    return {"type": str(channel), "recipientType": str(recipient_type)}


def _page(answer: object) -> tuple[set[int], int]:
    """Return the codes of a page of a list, and how many the whole list has."""
    reader = JsonReader(answer)
    codes = {one.integer("retailerCode") for one in readers(reader.raw("list") or [])}
    return codes, JsonReader(reader.raw("pagination")).integer("totalCount")
