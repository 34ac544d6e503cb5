"""Pull both of İYS's streams page by page: IYS has what citizens did, HS what providers wrote.

The movements of a page are published before the cursor advances (``inbound.movements``). It
advances in the transaction of the rows of its page, in which it is published how fresh our
knowledge of the brand is.

İYS shows seven days. After a longer gap the movements before it cannot be pulled: the status of
every consent of the brand that is registered at İYS is queried instead (reference 2.7).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from izin.iys.errors import CallError
from izin.iys.wire_format.consents import Stream
from izin.runtime.observe import get_logger
from izin.sinks.inbound.movements import ReadMovement, ReportedMovements
from izin.sinks.ledger import brands, stream_progress
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import append_messages
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import ConcurrentChangeError

_SQL = statements("stream_progress")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Puller:
    """Pulls the streams of every brand."""

    context: OutboundContext
    publisher: Publisher
    interval: timedelta
    hidden: timedelta
    """How recent movements are that İYS does not show yet."""

    @property
    def _movements(self) -> ReportedMovements:
        return ReportedMovements(context=self.context, publisher=self.publisher, path="pull")

    async def run(self, poll_interval: timedelta) -> None:
        """Pull until cancelled, in one process of an account and address at a time."""
        rest = min(self.interval, max(poll_interval, self.interval / 10))
        context = self.context
        async with sole(context.ledger, context.lease_owner.sole("pull")) as ledger:
            owner = replace(self, context=replace(context, ledger=ledger))
            while True:
                await owner.pull()
                await asyncio.sleep(rest.total_seconds())

    async def pull(self) -> bool:
        """Pull every stream that is due; return whether there was any page."""
        came = False
        for brand in await brands.every(self.context.ledger):
            lease_owner = self.context.lease_owner
            if brand.status != "active" or not brand.is_served_by(
                lease_owner.account, lease_owner.address
            ):
                continue
            for stream in Stream:
                came |= await self.pull_stream(brand, stream)
        return came

    async def pull_stream(self, brand: Brand, stream: Stream, *, force: bool = False) -> bool:
        """Pull a brand's stream to its end, if that is due; return whether there was any page."""
        came = False
        while True:
            now = self.context.clock()
            where = {"brand_code": brand.brand_code, "stream": str(stream)}
            async with self.context.ledger.transaction() as connection:
                await connection.execute(_SQL["begin"], where)
                row = await (await connection.execute(_SQL["read"], where)).fetchone()
            if row is None:
                return came
            last_attempt_at = row["last_attempt_at"]
            if not (
                force or came or last_attempt_at is None or last_attempt_at + self.interval <= now
            ):
                return came
            try:
                page = await self.context.client.changes(brand.path, stream, row["after"])
            except CallError as error:
                _log.warning("pull failed", **where, error=str(error))
                if not error.is_transient:
                    # Wait for the interval: each failed call counts against our address.
                    await self._store(brand, stream, row["after"], row["after"], [])
                return came
            if page is None or not (page.movements or page.unreadable):
                last_pulled_at = row["last_pulled_at"]
                if last_pulled_at is not None and now - last_pulled_at > stream_progress.WINDOW:
                    _log.critical("stream gap exceeded what iys shows", **where)
                    await stream_progress.query_again(
                        self.context.ledger, brand.brand_code, now=now
                    )
                await self._store(brand, stream, row["after"], row["after"], [], is_end=True)
                return came
            seen = await self._movements.publish(brand, stream, page.movements, page.unreadable)
            # A cursor that does not advance would return this page for ever.
            is_end = page.after == row["after"]
            await self._store(brand, stream, row["after"], page.after, seen, is_end=is_end)
            came = True
            if is_end:
                return came

    async def _store(  # noqa: PLR0913 - a page and the cursors around it
        self,
        brand: Brand,
        stream: Stream,
        before: str | None,
        after: str | None,
        seen: Sequence[ReadMovement],
        *,
        is_end: bool = False,
    ) -> None:
        now = self.context.clock()
        async with self.context.ledger.transaction() as connection:
            values = {
                "brand_code": brand.brand_code,
                "stream": str(stream),
                "before": before,
                "after": after,
                "now": now,
                "is_end": is_end,
            }
            pulled_before = await stream_progress.oldest_pull(connection, brand.brand_code)
            moved = await (await connection.execute(_SQL["advance"], values)).fetchone()
            if moved is None:
                raise ConcurrentChangeError(
                    f"another process pulled {stream} of {brand.brand_code}"
                )
            await self._movements.record(connection, brand, seen, now=now)
            pulled = await stream_progress.oldest_pull(connection, brand.brand_code)
            if pulled is not None and pulled != pulled_before:
                fresh = stream_progress.freshness(
                    self.context.topic_messages, brand, pulled, hidden=self.hidden, now=now
                )
                await append_messages(connection, fresh, now)
