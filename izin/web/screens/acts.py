"""Acts: who did what, and who looked at whom."""

from starlette.responses import Response

from izin.consent import clean
from izin.views import acts
from izin.views.acts import PAGE, ActKind, ActPosition, ActSelection
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit


async def show(visit: Visit) -> Response:
    """Show a page of acts, the newest first: of an actor, of a kind, from a position on."""
    query = visit.request.query_params
    by, kind, before = (clean(query.get(name, "")).strip() for name in ("by", "kind", "before"))
    try:
        selected = ActSelection(
            customer=visit.customer, by=by or None, kind=ActKind(kind or ActKind.EVERY)
        )
        position = ActPosition.read(before) if before else acts.NEWEST
    except (ValueError, OverflowError):
        raise RefusedVisitError(400, "This page does not exist; begin with the newest.") from None
    found = await acts.page(visit.ledger, selected, before=position, size=PAGE + 1)
    shown = found[:PAGE]
    older = visit.address(
        "/acts", by=selected.by, kind=selected.kind, before=shown[-1].position if shown else None
    )
    return visit.page(
        "acts.html",
        selected=selected,
        kinds={ActKind.EVERY: "all", ActKind.CHANGES: "changes", ActKind.LOOKS: "looks at people"},
        rows=acts.in_words(shown, visit.words),
        older=older if len(found) > PAGE else None,
        is_first=not before,
    )


SCREENS = (Screen(path="/acts", run=show, right=Permit.SEE),)
