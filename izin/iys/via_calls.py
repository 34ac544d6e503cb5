"""The calls by which İYS asks somebody for consent (reference 2.13)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from izin.iys.exchange import Call, Exchange, Method
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import Receipt
from izin.iys.wire_format.via import ViaProgress, ViaStart, consented, progress, started


@dataclass(frozen=True, slots=True)
class ViaCalls:
    """The calls by which İYS asks somebody for consent (ViA).

    None may be sent again after OutcomeUnknownError: a second start sends a second code.
    """

    exchange: Exchange

    async def start(
        self, iys_code: int, start: ViaStart, *, permit: Callable[[], Awaitable[bool]]
    ) -> str:
        """Have İYS ask; return its id of the request. ``permit`` is used as by ``IysClient.add``.

        Raises:
            WithheldError: ``permit`` returned False; nobody was asked.
        """
        return await self.exchange.call(
            Call(
                method=Method.POST,
                path=f"/via/sps/{iys_code}/consent",
                name="via_start",
                body=start.to_body(),
                writes=True,
                call_class=CallClass.DUE,
                permit=permit,
            ),
            started,
        )

    async def confirm(
        self,
        iys_code: int,
        body: Mapping[str, object],
        *,
        permit: Callable[[], Awaitable[bool]],
    ) -> Mapping[str, Receipt]:
        """Give İYS the code of ``wire_format.via.confirmation``; return the receipts of what was
        consented to, by channel. ``permit`` is used as by ``start``.
        """
        return await self.exchange.call(
            Call(
                method=Method.POST,
                path=f"/via/sps/{iys_code}/confirmation",
                name="via_confirm",
                body=body,
                writes=True,
                call_class=CallClass.DUE,
                permit=permit,
            ),
            consented,
        )

    async def progress(self, iys_code: int, request_id: str) -> ViaProgress:
        """Return how far a request is."""
        return await self.exchange.call(
            Call(
                method=Method.GET,
                path=f"/via/sps/{iys_code}/consent/request/{request_id}",
                name="via_progress",
                call_class=CallClass.RESULTS,
            ),
            progress,
        )
