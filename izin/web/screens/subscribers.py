"""The subscribers: which systems take their events, and what they are sent again.

Secrets are made and shown by commands alone (izin subscribers add, rotate-secret).
"""

from starlette.responses import Response

from izin.consent import SourceError
from izin.ledger.record import StreamUnavailableError
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import (
    EventFilter,
    PauseReason,
    WebhookSubscriber,
    WebhookType,
)
from izin.views.cut import cut_to
from izin.views.subscribers import ResendOrder, counted, details, listed, ping
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit, forbidden
from izin.webhooks import resends
from izin.webhooks.posting import Reply
from izin.webhooks.resends import CountedResend, Resend, ResendError

LIST = "/subscribers"
ONE = "/subscribers/{name}"


async def show(visit: Visit) -> Response:
    """Show the subscribers, and whether each takes its events."""
    found = await listed(visit.ledger, await visit.cut(), now=visit.now)
    return visit.page("subscribers.html", found=found)


async def one(visit: Visit) -> Response:
    """Show a subscriber with what it still lacks."""
    return await _page(visit, (await _subscriber(visit)).name)


async def pause(visit: Visit) -> Response:
    """Post nothing more to a subscriber; what comes is kept for it."""
    name, by = (await _subscriber(visit)).name, visit.account.name
    await registry.pause(visit.ledger, name, reason=PauseReason.OPERATOR, by=by, now=visit.now)
    return visit.redirect(f"{LIST}/{name}", said=visit.text("The subscriber is paused."))


async def resume(visit: Visit) -> Response:
    """Post to a subscriber again, beginning with what was kept for it."""
    name = (await _subscriber(visit)).name
    await registry.resume(visit.ledger, name, by=visit.account.name, now=visit.now)
    return visit.redirect(f"{LIST}/{name}", said=visit.text("The subscriber is posted to again."))


async def test(visit: Visit) -> Response:
    """Post a test event now, and show what came of it."""
    name = (await _subscriber(visit)).name
    reply = await ping(visit.ledger, visit.console.webhooks, name, by=visit.account.name)
    return await _page(visit, name, reply)


async def resend(visit: Visit) -> Response:
    """Show what would be sent again, and send it once that is confirmed: never more than was
    shown.
    """
    found, recipients = await _subscriber(visit), _recipients(visit)
    plan = await _counted(visit, found, recipients)
    total, confirmed = plan.events.total(), visit.form.get("confirmed")
    if not confirmed or total > visit.number("planned"):
        return visit.page(
            "subscriber_resend.html",
            one=found,
            plan=plan,
            total=total,
            recipients=recipients,
            is_again=bool(confirmed),
        )
    try:
        await resends.begin(visit.ledger, [plan], by=visit.account.name, now=visit.now)
    except ResendError:
        raise RefusedVisitError(409, "An earlier resend is not done; cancel it first.") from None
    said = visit.text("%(count)s events are sent again, beside what comes.", count=total)
    return visit.redirect(f"{LIST}/{found.name}", said=said)


async def cancel(visit: Visit) -> Response:
    """Cancel the resend that is under way."""
    name = (await _subscriber(visit)).name
    try:
        await resends.cancel(visit.ledger, name, by=visit.account.name, now=visit.now)
    except ResendError:
        raise RefusedVisitError(409, "No resend is under way.") from None
    return visit.redirect(f"{LIST}/{name}", said=visit.text("The resend is cancelled."))


async def _page(visit: Visit, name: str, reply: Reply | None = None) -> Response:
    ledger, now = visit.ledger, visit.now
    try:
        found, is_known = await details(ledger, visit.console.kafka, name, now=now), True
    except StreamUnavailableError:
        found, is_known = await details(ledger, None, name, now=now), False
    return visit.page(
        "subscriber.html",
        found=found,
        one=found.subscriber,
        is_known=is_known,
        reply=reply,
        types=tuple(WebhookType),
        may_act=visit.may(Permit.DELIVER),
    )


def _recipients(visit: Visit) -> list[str]:
    """Return the recipient of the form, where it has one: typed, or as the plan has it."""
    if visit.form.get("sealed"):
        return [visit.opened("sealed")]
    return [visit.recipient("recipient")] if visit.form.get("recipient") else []


async def _counted(visit: Visit, found: WebhookSubscriber, recipients: list[str]) -> CountedResend:
    """Return what the form would send again; of recipients what is known to the customer."""
    since, until = visit.instant("since"), visit.instant("until")
    if since is None and not recipients:
        raise RefusedVisitError(422, "Say what is sent again: since when, or of which recipient.")
    chosen = frozenset(visit.form.every("type")) & frozenset(WebhookType)
    order = Resend(
        ordered_at=visit.now,
        filter=EventFilter(customer_id="", types=frozenset(map(str, chosen))),
        since=since,
        # What comes after the plan is posted in any case.
        until=min(until or visit.now, visit.now),
    )
    asked = ResendOrder(
        resend=order, recipients=recipients, cut=await cut_to(visit.ledger, found.customer_id)
    )
    console = visit.console
    try:
        (plan,) = await counted(visit.ledger, console.kafka, console.codec, [found.name], asked)
    except SourceError:
        raise RefusedVisitError(404, "Nothing is known of this recipient.") from None
    return plan


async def _subscriber(visit: Visit) -> WebhookSubscriber:
    """Return the subscriber of the path; one of another customer is refused as one that is not."""
    found = await registry.of_name(visit.ledger, visit.request.path_params["name"])
    if not visit.account.sees(found.customer_id):
        raise forbidden()
    return found


SCREENS = (
    Screen(path=LIST, run=show, right=Permit.SEE),
    Screen(path=ONE, run=one, right=Permit.SEE),
    Screen(path=f"{ONE}/pause", run=pause, right=Permit.DELIVER, method="POST"),
    Screen(path=f"{ONE}/resume", run=resume, right=Permit.DELIVER, method="POST"),
    Screen(path=f"{ONE}/test", run=test, right=Permit.DELIVER, method="POST"),
    Screen(path=f"{ONE}/resend", run=resend, right=Permit.DELIVER, method="POST"),
    Screen(path=f"{ONE}/cancel", run=cancel, right=Permit.DELIVER, method="POST"),
)
