"""Look whether İYS still answers the egress address of this process, and those of the others."""

from contextlib import suppress
from dataclasses import dataclass

from izin.iys.errors import CallError
from izin.ledger import egress
from izin.sinks.outbound.context import OutboundContext


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressWatch:
    """Finds that an address is off İYS's list, and that it is on it again."""

    context: OutboundContext

    async def step(self) -> bool:
        """Look once. In doubt make a call that every account may make: from an address that was not
        answered it shows whether it was the call or the address, and when it is answered again;
        from another, whether İYS answers at all.
        """
        ledger, owner = self.context.ledger, self.context.lease_owner
        await self.context.pacer.flush()
        if (iys_code := await egress.doubted(ledger, owner)) is not None:
            with suppress(CallError):
                await self.context.client.brands(iys_code)
            await self.context.pacer.flush()
        await egress.refresh(ledger, owner)
        return False
