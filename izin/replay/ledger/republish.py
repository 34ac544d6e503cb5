"""What the topics had of the ledger is published again, after Kafka was lost, or was moved without
its topics: brands, API keys and permissions. From then on the ledger follows the Kafka of now.

Of each page of permissions the rows are locked while their messages go into the outbox: so none is
published behind a newer one. A republication that was stopped is given again, and begins again:
whoever reads the topics takes the last record of a key.

What Kafka had taken and the ledger had not read is in neither. Its producers have it:
``read_until`` says from when on they publish again, for duplicates change nothing.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from izin.consent import OurError
from izin.kafka.clients import watermarks
from izin.ledger import brands
from izin.ledger.db import fetch, statements
from izin.ledger.history import rebuild_key, record_act
from izin.ledger.registry import api_keys
from izin.ledger.unit_of_work import append_messages, lock, unit_of_work
from izin.runtime.plan import OnProgress, silent
from izin.sinks.ingest.ingested_topics import IngestContext, identity

REPUBLISHED = "republish"
"""What the act is called that the history has of it."""
_PAGE = 1000
_LATE = timedelta(days=60)
"""So old the last decision may be that is looked for."""
_SQL = statements("republish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Republished:
    """What is published again, or would be."""

    brands: int
    api_keys: int
    permissions: int
    followed: bool
    """Whether the ledger follows this Kafka already."""
    read_until: datetime | None
    """When the last decision was read; None: none of late."""


@dataclass(frozen=True, kw_only=True)
class Republication(IngestContext):
    """Publishes again what the topics had of one ledger."""

    report: OnProgress = silent

    async def check(self) -> Republished:
        """Return what would be published.

        Raises:
            OurError: ``desired-consents`` has nothing of what the ledger has.
            StreamUnavailableError: Kafka cannot be read.
            BrokerError: a topic is missing.
        """
        (found,) = await self.ledger.fetch(_SQL["counts"], await self._decisions())
        rows = await asyncio.to_thread(
            watermarks, self.settings, self.settings.topics.desired_consents.name
        )
        if found["permissions"] and not any(end for _, end in rows.values()):
            raise OurError(
                "desired-consents is empty: first restore it, or order workers decide as if nobody "
                "had opted out: izin replay rebuild desired-consents --from-history --plan FILE"
            )
        return Republished(**found)

    async def execute(self, *, by: str) -> Republished:
        """Follow this Kafka, and put everything into the outbox; the history has who ordered it.

        Raises as :meth:`check`, and LedgerUnavailableError.
        """
        found, now = await self.check(), self.clock()
        messages = self.topic_messages
        published = [
            *(messages.brand(one, now) for one in await brands.every(self.ledger)),
            *(messages.api_key(one, now) for one in await api_keys.every(self.ledger)),
        ]
        async with self.ledger.transaction() as connection:
            former = await fetch(connection, _SQL["follow"], await self._decisions())
            if former:
                topics = sorted({row["topic"] for row in former})
                await connection.execute(_SQL["forget-lanes"], {"topics": topics})
            await record_act(
                connection,
                REPUBLISHED,
                rebuild_key("topics"),
                by=by,
                now=now,
                before={
                    "offsets": {
                        f"{row['topic']}/{row['partition']}": row["next_offset"] for row in former
                    }
                },
                after={"permissions": found.permissions},
            )
            await append_messages(connection, published, now)
        after, done = "", 0
        while keys := await self._page(after):
            after, done = keys[-1], done + len(keys)
            self.report(done, max(done, found.permissions))
        return await self.check()

    async def _page(self, after: str) -> list[str]:
        """Put the permissions of a page of keys behind ``after`` into the outbox; return these."""
        values = {"after": after, "size": _PAGE}
        keys = [str(row["key"]) for row in await self.ledger.fetch(_SQL["keys"], values)]
        async with unit_of_work(self.ledger, self.topic_messages, self.clock()) as changes:
            for row in (await lock(changes.connection, keys)).values():
                changes.publish_permission(row, row.may_send)
        return keys

    async def _decisions(self) -> dict[str, Any]:
        topic = self.settings.topics.decisions.name
        cluster_id, topic_id, _ = await asyncio.to_thread(identity, self.settings, topic)
        since = self.clock() - _LATE
        return {"topic": topic, "cluster_id": cluster_id, "topic_id": topic_id, "since": since}
