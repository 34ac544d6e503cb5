"""A test event, posted at once and to one subscriber alone."""

import secrets
from datetime import UTC, datetime

from izin.runtime.settings import WebhookSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import registry
from izin.sinks.webhooks.addresses import AllowedTargets
from izin.sinks.webhooks.events import PING, body_of
from izin.sinks.webhooks.posting import Poster, Reply
from izin.sinks.webhooks.signatures import Signer


async def ping(ledger: Ledger, settings: WebhookSettings, name: str, *, by: str) -> Reply:
    """Post a test event to the subscriber of a name, and record that; where it is taken, what the
    subscriber refused before is posted at once.

    Raises:
        UnknownSubscriberError: there is none.
    """
    found, now = await registry.of_name(ledger, name), datetime.now(UTC)
    poster = Poster(
        found.url,
        allowed=AllowedTargets.parse(settings.allowed),
        tls=settings.tls_context(),
        timeout=settings.timeout.total_seconds(),
        parallel=1,
    )
    body = body_of(PING, now, {"customer_id": found.customer_id, "subscriber": found.name})
    webhook_id = f"msg_{secrets.token_hex(20)}"
    try:
        headers = Signer(found.secrets_at(now)).headers(webhook_id, now, body)
        reply = await poster.post(headers, body)
    finally:
        await poster.close()
    result = reply.failure or f"status {reply.status}"
    await registry.tested(
        ledger, name, result=result, is_taken=reply.is_acknowledgement, by=by, now=now
    )
    return reply
