"""İYS's calls for business partners: what is granted to them, and their subscription.

Only the account of a partner may make them (H363, H522), and İYS's sandbox has no lists (reference
2.9). Every method raises a CallError.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from izin.iys.errors import UnreadableError
from izin.iys.transport.exchange import Call, Exchange, Method
from izin.iys.wire_format.account import Subscription
from izin.iys.wire_format.json_reader import JsonReader, UnreadableItem
from izin.iys.wire_format.partner import GrantedBrand, GrantedBrands

_PAGE: Final = 100
"""The most brands of a page (H186)."""
_MOST: Final = 100_000
"""More brands than any partner has: a list that does not end is refused."""


class PartnerCalls:
    """The calls that only a business partner may make."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def brands(
        self,
        integrator_code: int,
        iys_code: int | None = None,
        *,
        turn: Callable[[], Awaitable[object]] | None = None,
    ) -> GrantedBrands:
        """Return the brands granted to the partner, of one provider where ``iys_code`` is given, in
        İYS's order, read page by page; ``turn`` is awaited before each page.

        A list that changes while it is read may lack a brand; it is then not complete.

        Raises:
            UnreadableError: the list does not end.
        """
        path = f"/integrator/{integrator_code}/sps"
        name = "granted_brands" if iys_code is None else "granted_brands_of"
        if iys_code is not None:
            path = f"{path}/{iys_code}"
        found: dict[int, GrantedBrand] = {}
        unreadable: list[UnreadableItem] = []
        offset = 0
        while offset < _MOST:
            if turn is not None:
                await turn()
            page = await self._page(path, name, offset)
            found |= {one.brand_code: one for one in page.brands}
            unreadable += page.unreadable
            offset += page.size
            if not page.size or offset >= page.total:
                return GrantedBrands(
                    brands=tuple(found.values()), unreadable=tuple(unreadable), total=page.total
                )
        raise UnreadableError("a list of the partner's brands that does not end")

    async def subscription(self, integrator_code: int) -> Subscription:
        """Return the partner's own subscription."""
        return await self._exchange.call(
            Call(
                method=Method.GET,
                path=f"/integrator/{integrator_code}/subscription",
                name="partner_subscription",
            ),
            lambda answer: Subscription.read(JsonReader(answer)),
        )

    async def _page(self, path: str, name: str, offset: int) -> GrantedBrands:
        return await self._exchange.call(
            Call(
                method=Method.GET,
                path=path,
                name=name,
                query={"offset": str(offset), "limit": str(_PAGE)},
            ),
            lambda answer: GrantedBrands.read(JsonReader(answer)),
        )
