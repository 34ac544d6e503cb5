"""The reject links of İYS for ``izin scrub --reject-links``: a hundred a call, within the share of
İYS's requests that sweeps have.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from izin.cli.sending.scrubbing import RejectLinks, ScrubQuestion
from izin.cli.terminal.iys_session import WorkerSettings, calling_iys
from izin.cli.terminal.ledger_session import open_ledger
from izin.consent import Channel, SourceError
from izin.iys.errors import RefusedError
from izin.iys.register_calls import MAX_LINKS
from izin.ledger.brands import registered_brand
from izin.sinks.outbound.context import RequestBudget
from izin.views.words import normalised


@asynccontextmanager
async def reject_links(
    question: ScrubQuestion,
) -> AsyncIterator[Callable[[Sequence[str]], Awaitable[RejectLinks]]]:
    """Provide what has İYS make reject links for recipients as they stand in a file.

    A recipient that İYS refuses has its code, and costs no other its link.

    Raises:
        SourceError: the question is not about e-mail, or the brand is not registered.
        CallError: in what is provided: İYS does not answer, or the account has no right for it.
    """
    if question.type is not Channel.EPOSTA:
        raise SourceError("İYS makes reject links for e-mail alone: --type EPOSTA")
    needed, whose = WorkerSettings(), question.recipient_type
    rate = needed.sweep_share * needed.requests_per_second
    budget = RequestBudget(rate, clock=time.monotonic)
    async with open_ledger(needed) as ledger:
        brand = await registered_brand(ledger, question.brand_code)
        async with calling_iys(ledger, needed) as (client, _pacer):

            async def make(recipients: Sequence[str]) -> RejectLinks:
                addresses = {one: normalised(one).lower() for one in recipients}
                unique = sorted(set(addresses.values()))
                waiting = [unique[at : at + MAX_LINKS] for at in range(0, len(unique), MAX_LINKS)]
                found = dict[str, tuple[str, str]]()
                while waiting:
                    part = waiting.pop()
                    call = partial(client.register.reject_links, brand.path, whose, part)
                    try:
                        found |= await budget.patiently(call)
                    except RefusedError as error:
                        # Of one among others until its own half is asked for.
                        half = len(part) // 2
                        waiting += [part[:half], part[half:]] if half else []
                        found[part[0]] = ("", ", ".join(one.code for one in error.refusals))
                return {one: found[address] for one, address in addresses.items()}

            yield make
