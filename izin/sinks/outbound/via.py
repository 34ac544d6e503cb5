"""ViA: have İYS ask the people who are to be asked for consent, and give it their codes.

What is written before a call, and that no call is made twice, is in :mod:`izin.ledger.via`. What
İYS registers so is there already and is never submitted by us: it is published as a movement that
İYS shows, under the id that push and pull give it, so that the order stage drops theirs. Of a link,
push and pull usually bring it first; how far it is is asked in growing intervals.

Before anybody is asked, İYS is queried for what the ledger does not know of their keys: an opt-out
that it has is published, and they are not asked.
"""

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from izin.consent import ConsentEvent, ConsentKey, Status, is_of_citizens
from izin.iys.errors import CallError, OutcomeUnknownError
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import IysMovement, Receipt, Stream
from izin.iys.wire_format.via import CONSENTED, IN_PROGRESS, PENDING, confirmation
from izin.ledger import brands, via
from izin.ledger.record import Brand, UndecryptableSecretError, event_of
from izin.ledger.via import ASKED_WITHIN, ConsentRequest, ViaState
from izin.runtime.logs import get_logger
from izin.sinks.outbound.context import OutboundContext, ask_for_rights
from izin.sinks.outbound.status_query import event_of_record

_SOON = timedelta(seconds=2)
_FIRST_LOOK = timedelta(seconds=15)
_RAREST_LOOK = timedelta(hours=4)
_ENDED: Final = frozenset({"H1032", "H1050", "H1051", "H1110"})
"""A code is of no use any more: what came of the request is asked."""
_Events = Sequence[tuple[ConsentEvent, ConsentKey]]
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViaCaller:
    """Takes the next step of requests for consent."""

    context: OutboundContext

    async def step(self) -> bool:
        """Take the next step of the request that is due first; return whether there was one."""
        ledger, owner = self.context.ledger, self.context.lease_owner
        request = await via.claim(ledger, owner, self.context.clock())
        if request is None:
            return False
        code = request.start.brand_code
        async with ledger.reading() as connection:
            brand = (await brands.of_codes(connection, [code]))[code]
        match request.state:
            case ViaState.WAITING:
                await self._ask(request, brand)
            case ViaState.ASKING:
                await self._save(request, ViaState.UNKNOWN, result=via.UNANSWERED)
            case ViaState.CODED:
                await self._confirm(request, brand)
            case _:
                await self._look(request, brand)
        return True

    async def _ask(self, request: ConsentRequest, brand: Brand) -> None:
        client, deadline = self.context.client, request.requested_at + ASKED_WITHIN
        permit = self._permit(request, ViaState.ASKING, deadline)
        try:
            events = await self._shown(brand, await via.keys_to_query(self.context.ledger, request))
            if any(event.status == Status.RET for event, _ in events):
                await self._save(request, ViaState.REFUSED, result=via.OPTED_OUT, publish=events)
                return
            name = await client.via.start(brand.iys_code, request.start, permit=permit)
        except OutcomeUnknownError:
            await self._save(request, ViaState.UNKNOWN, result=via.UNANSWERED)
        except CallError as error:
            await self._failed(request, error, ViaState.REFUSED, deadline)
        else:
            await self._save(request, ViaState.ASKED, request_id=name)

    async def _confirm(self, request: ConsentRequest, brand: Brand) -> None:
        permit = self._permit(request, ViaState.CONFIRMING, request.until)
        try:
            code = self.context.ledger.secret_keys.decrypt(request.code, str(request.id))
            body = confirmation(request.request_id, request.start.way, code)
            given = await self.context.client.via.confirm(brand.iys_code, body, permit=permit)
        except UndecryptableSecretError:
            await self._save(request, ViaState.ASKED, result=via.CODE_LOST)
        except OutcomeUnknownError:
            await self._save(request, ViaState.CONFIRMING, pause=_SOON)
        except CallError as error:
            if any(refusal.code in _ENDED for refusal in error.refusals):
                await self._save(request, ViaState.CONFIRMING, pause=_SOON)
            else:
                await self._failed(request, error, ViaState.ASKED, request.until)
        else:
            events = self._events(request, brand, given)
            await self._save(request, ViaState.CONSENTED, publish=events)

    async def _look(self, request: ConsentRequest, brand: Brand) -> None:
        """Ask İYS how far a request is, and publish what came of it."""
        client, ends_at = self.context.client, request.until + ASKED_WITHIN
        try:
            found = await client.via.progress(brand.iys_code, request.request_id)
            is_given = found == CONSENTED
            events = await self._shown(brand, request.keys) if is_given else ()
        except CallError as error:
            error.warn(_log, "via progress query failed", brand=brand.brand_code)
            # What somebody has consented to comes by push and pull too.
            is_late = self.context.clock() >= ends_at + via.DAY
            state = ViaState.OVER if is_late else request.state
            await self._save(request, state, result=request.result, pause=error.pause(_FIRST_LOOK))
            return
        if is_given:
            # What a provider wrote may be ours, and is no answer of the person.
            theirs = [one for one in events if is_of_citizens(one[0].source)]
            await self._save(request, ViaState.CONSENTED, publish=theirs)
        elif found.is_over or self.context.clock() >= ends_at:
            await self._save(request, ViaState.OVER, result=found.status)
        elif request.state is ViaState.ASKED or found.stage == IN_PROGRESS:
            await self._save(request, request.state, result=request.result)
        elif found == PENDING:
            # İYS did not get the code.
            await self._save(request, ViaState.CODED, pause=timedelta(0))
        else:
            await self._save(request, ViaState.ASKED, result=found.status)

    async def _shown(self, brand: Brand, keys: Iterable[ConsentKey]) -> _Events:
        """Return what İYS holds for ``keys``, as events at İYS; raises CallError."""
        found = []
        for key in keys:
            record = await self.context.client.status(
                brand.path,
                key.channel,
                key.recipient_type,
                key.recipient,
                call_class=CallClass.RESULTS,
            )
            if record is not None and record.status in set(Status):
                found.append((event_of_record(record, brand, self.context.clock()), key))
        return found

    def _events(
        self, request: ConsentRequest, brand: Brand, given: Mapping[str, Receipt]
    ) -> _Events:
        """Return what somebody consented to, as events at İYS."""
        found, at = [], self.context.clock()
        for key in request.keys:
            if (receipt := given.get(key.channel)) is not None:
                movement = IysMovement(
                    recipient=key.recipient,
                    type=key.channel,
                    recipient_type=key.recipient_type,
                    status=Status.ONAY,
                    source=request.start.way.source,
                    consent_date=receipt.creation_date,
                    creation_date=receipt.creation_date,
                    transaction_id=receipt.transaction_id,
                )
                found.append((event_of(movement, brand, Stream.IYS, path="via", at=at), key))
        return found

    def _permit(
        self, request: ConsentRequest, to: ViaState, deadline: datetime
    ) -> partial[Coroutine[Any, Any, bool]]:
        """Return what notes each attempt of a call before it is written, and permits it."""
        return partial(
            via.begin,
            self.context.ledger,
            request,
            to,
            deadline=deadline,
            call_within=self.context.lease_owner.call_within,
            clock=self.context.clock,
        )

    async def _failed(
        self, request: ConsentRequest, error: CallError, end: ViaState, deadline: datetime
    ) -> None:
        """Save that a call had no effect: until ``deadline`` it is made again where that may help;
        else the request is in the state ``end``.
        """
        error.warn(_log, "via call failed", brand=request.start.brand_code)
        await ask_for_rights(self.context, error)
        result = next((refusal.code for refusal in error.refusals), via.TOO_LATE)
        pause = error.pause(_SOON)
        if await via.is_opted_out(self.context.ledger, request):
            end, result = ViaState.REFUSED, via.OPTED_OUT
        elif error.is_transient and self.context.clock() + pause < deadline:
            await self._save(request, request.state, pause=pause)
            return
        await self._save(request, end, result=result)

    async def _save(  # noqa: PLR0913  # how far it is, why, and what came of it
        self,
        request: ConsentRequest,
        state: ViaState,
        *,
        result: str | None = None,
        request_id: str | None = None,
        pause: timedelta | None = None,
        publish: _Events = (),
    ) -> None:
        """Save how far a request is, and publish what came of it; it is taken up again after
        ``pause``, else when something may have come of it.
        """
        async with self.context.changes() as changes:
            for event, key in publish:
                changes.publish(event, key)
            now, next_at = changes.now, None
            if state is ViaState.ASKED and request.start.way.is_by_code:
                next_at = request.until
            elif state not in via.ENDS:
                open_for = now - request.requested_at
                growing = min(max(open_for, _FIRST_LOOK), _RAREST_LOOK)
                next_at = now + (growing if pause is None else pause)
            await via.save(
                changes.connection,
                request,
                state,
                result=result,
                request_id=request_id,
                next_at=next_at,
                now=now,
            )
