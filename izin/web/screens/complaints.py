"""The complaints: what is due next, entering and closing one, and the evidence that answers it.

Whoever sees the list sees no recipient in full; one complaint is for those who answer it.
"""

import re

from starlette.responses import Response

from izin.consent import Channel, SourceError
from izin.ledger.registry import complaints
from izin.ledger.registry.complaints import Complaint, ComplaintOutcome, NewComplaint
from izin.views.complaints import answer, listed, state_of
from izin.views.customers import brands_in
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit, forbidden

LIST = "/complaints"
ONE = "/complaints/{number}"
_NUMBER = re.compile(r"[0-9]{1,9}")


async def show(visit: Visit) -> Response:
    """Show the open complaints, what is due first; on demand those that are closed, too."""
    cut, closed = await visit.cut(), "closed" in visit.request.query_params
    found = await listed(visit.ledger, cut, closed=closed)
    return visit.page(
        "complaints.html",
        found=[(one, state_of(one, visit.now)) for one in found],
        closed=closed,
        brands=await brands_in(visit.ledger, cut),
        channels=tuple(Channel),
        may_act=visit.may(Permit.COMPLAIN),
    )


async def add(visit: Visit) -> Response:
    """Enter a complaint: while it is open, the history of its recipient is kept."""
    brand, form = visit.number("brand"), visit.form
    await visit.need_brand(brand)
    sender, content, _ = visit.required("sender", "content", "sent")
    sent_at, due_at = visit.instant("sent"), visit.instant("due")
    new = NewComplaint(
        brand_code=brand,
        channel=visit.chosen("channel", Channel),
        recipient=visit.recipient("recipient"),
        sent_at=sent_at or visit.now,
        sender=sender,
        content=content,
        reference=form.get("reference") or None,
        due_at=due_at,
    )
    added = await complaints.add(visit.ledger, new, by=visit.account.name, now=visit.now)
    return visit.redirect(f"{LIST}/{added.id}", said=visit.text("The complaint is entered."))


async def one(visit: Visit) -> Response:
    """Show a complaint, with its recipient masked."""
    return _page(visit, await _complaint(visit))


async def look(visit: Visit) -> Response:
    """Show a complaint whole."""
    found = await _complaint(visit)
    await visit.look("complaint", [found.recipient])
    return _page(visit, found, is_shown=True)


async def evidence(visit: Visit) -> Response:
    """Give the archive of evidence that answers a complaint; its digest is kept with it."""
    found = await _complaint(visit)
    await visit.look("complaint evidence", [found.recipient])
    messages = visit.console.topic_messages
    try:
        name, archive = await answer(
            visit.ledger, messages, found, by=visit.account.name, now=visit.now
        )
    except SourceError:
        raise RefusedVisitError(
            404, "There is no evidence: nothing is known of this recipient and brand."
        ) from None
    return visit.download(name, archive, "application/zip")


async def close(visit: Visit) -> Response:
    """Close a complaint with its outcome."""
    found, outcome = await _complaint(visit), visit.chosen("outcome", ComplaintOutcome)
    await complaints.close(
        *(visit.ledger, found.id),
        outcome=outcome,
        note=visit.form.get("note") or None,
        by=visit.account.name,
        now=visit.now,
    )
    return visit.redirect(f"{LIST}/{found.id}", said=visit.text("The complaint is closed."))


def _page(visit: Visit, found: Complaint, *, is_shown: bool = False) -> Response:
    return visit.page(
        "complaint.html",
        one=found,
        state=state_of(found, visit.now),
        is_shown=is_shown,
        outcomes=tuple(ComplaintOutcome),
    )


async def _complaint(visit: Visit) -> Complaint:
    """Return the complaint of the path; one of another customer is refused as one that is not."""
    number = visit.request.path_params["number"]
    if not _NUMBER.fullmatch(number):
        raise forbidden()
    found = await complaints.find(visit.ledger, int(number))
    await visit.need_brand(found.brand_code)
    return found


SCREENS = (
    Screen(path=LIST, run=show, right=Permit.SEE),
    Screen(path=LIST, run=add, right=Permit.COMPLAIN, method="POST"),
    Screen(path=ONE, run=one, right=Permit.COMPLAIN),
    Screen(path=f"{ONE}/look", run=look, right=Permit.COMPLAIN, method="POST"),
    Screen(path=f"{ONE}/evidence", run=evidence, right=Permit.COMPLAIN, method="POST"),
    Screen(path=f"{ONE}/close", run=close, right=Permit.COMPLAIN, method="POST"),
)
