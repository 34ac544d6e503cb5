"""The reject links of İYS for ``izin scrub --reject-links``: a hundred a call, within the share of
İYS's requests that sweeps have.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from izin.cli.sending.linked_rows import MakeLinks, RejectAnswers
from izin.cli.sending.scrubbing import ScrubQuestion
from izin.cli.terminal.iys_session import calling_iys
from izin.cli.terminal.ledger_session import open_ledger
from izin.iys.client import IysClient
from izin.iys.errors import CallError, RefusedError
from izin.ledger.brands import registered_brand
from izin.ledger.record import Brand
from izin.runtime.backoff import Backoff
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.outbound.context import RequestBudget

_TRIES: Final = 5
_BACKOFF: Final = Backoff(timedelta(seconds=1), timedelta(seconds=30))


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectLinkMaker:
    """Has İYS make reject links for the recipients of one question."""

    client: IysClient
    brand: Brand
    question: ScrubQuestion
    budget: RequestBudget

    async def make(self, recipients: Sequence[str]) -> RejectAnswers:
        """Return by recipient, an e-mail address in lower case, its link and the code that says why
        there is none. A recipient that İYS refuses costs no other its link.

        Raises:
            CallError: İYS does not answer, or the account has no right for it.
        """
        tries = 0
        while True:
            await self.budget.turn()
            tries += 1
            try:
                found = await self.client.register.reject_links(
                    self.brand.path, self.question.recipient_type, recipients
                )
            except RefusedError as error:
                if len(recipients) == 1:
                    code = next((one.code for one in error.refusals), "refused")
                    return {recipients[0]: ("", code)}
                half = len(recipients) // 2
                first = await self.make(recipients[:half])
                return {**first, **await self.make(recipients[half:])}
            except CallError as error:
                if not error.is_transient or tries >= _TRIES:
                    raise
                await asyncio.sleep(error.pause(_BACKOFF.after(tries)).total_seconds())
            else:
                return {one: (link.url or "", link.code or "") for one, link in found.items()}


@asynccontextmanager
async def reject_links(question: ScrubQuestion) -> AsyncIterator[MakeLinks]:
    """Provide what has İYS make reject links for the brand of a question.

    Raises:
        UnregisteredBrandError: the ledger does not have the brand.
    """
    iys, share = IysSettings(), SinkSettings().sweep_share
    async with open_ledger(LedgerSettings()) as ledger:
        brand = await registered_brand(ledger, question.brand_code)
        async with calling_iys(ledger, iys) as (client, _pacer):
            budget = RequestBudget(share * iys.requests_per_second, clock=time.monotonic)
            yield RejectLinkMaker(client=client, brand=brand, question=question, budget=budget).make
