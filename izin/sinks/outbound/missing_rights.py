"""Ask for İYS's list of rights where a call failed because one is missing."""

from izin.iys.errors import CallError, Verdict
from izin.sinks.ledger.granted import readings
from izin.sinks.outbound.context import OutboundContext


async def ask_for_rights(context: OutboundContext, error: CallError) -> None:
    """Have the list read soon, where ``error`` says that a right is missing; it says which."""
    if error.verdict is Verdict.RIGHTS:
        account = context.lease_owner.account
        await readings.ask(context.ledger, account, now=context.clock())
