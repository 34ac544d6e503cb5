"""Subscribers to which nothing is posted: who reads a feed or the topics reads again by itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import Scope
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import api_keys
from izin.sinks.ledger.webhooks import registry
from izin.sinks.ledger.webhooks.errors import UnknownSubscriberError


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Names that were given: of webhook subscribers, and of others."""

    webhooks: Sequence[str]
    remedies: Sequence[str]
    """How each of the others reads again."""


async def others(ledger: Ledger, settings: KafkaSettings, names: Sequence[str]) -> Others:
    """Return which of ``names`` events can be posted to, and how the others read again.

    Raises:
        UnknownSubscriberError: one is no name of a subscriber, an API key or a consumer group.
        BrokerError: Kafka cannot be reached.
    """
    known = {one.name for one in await registry.every(ledger)}
    unknown = [one for one in names if one not in known]
    remedies = []
    if unknown:
        readers = {
            one.name
            for one in await api_keys.every(ledger)
            if Scope.SUBSCRIBE in one.scopes and one.revoked_at is None
        }
        groups = await asyncio.to_thread(_groups, settings)
        topics = settings.topics
        for name in unknown:
            is_library = any(
                f"{name}-{one.name}" in groups for one in (topics.opt_outs, topics.permissions)
            )
            if not is_library and name not in readers:
                raise UnknownSubscriberError(name)
            remedies.append(_of_library(name) if is_library else _of_feeds(name))
    return Others(webhooks=[one for one in names if one in known], remedies=remedies)


def _groups(settings: KafkaSettings) -> frozenset[str]:
    client = kafka.admin(settings)  # kept until it has answered
    with kafka.broker_errors(settings):
        found = client.list_consumer_groups(request_timeout=kafka.TIMEOUT)
        return frozenset(one.group_id for one in found.result(kafka.TIMEOUT).valid)


def _of_feeds(name: str) -> str:
    return (
        f"{name} is an API key, and reads the feeds by itself: GET /v1/permissions without `after` "
        "until `complete` is true, then GET /v1/opt-outs without `after`; see docs/feeds.md, "
        '"When you have lost your list".'
    )


def _of_library(name: str) -> str:
    return (
        f'{name} reads the topics by itself: start it as subscribe("{name}-2"), which begins at '
        "their first records; a PermissionList needs nothing. See docs/subscribing.md, "
        '"When you have lost your list".'
    )
