"""The worklist: what needs a person, and what is done about it, on a page of its own first.

Forms and links name items sealed under the session.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from starlette.responses import Response

from izin.views import worklist as views
from izin.views.worklist import Filter, Need, WorkItem, WorkPlace
from izin.views.worklist_acts import ActPlan, WorkAct, carry_out, plan
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit

PATH = "/worklist"
MOST_AT_ONCE = 5000
"""About so many items something is done at once."""
_IN_FILE = 50_000
_NEED_A_REASON = frozenset({WorkAct.RELEASE, WorkAct.WITHDRAW})
_APART = "\0"
_SAID = 3
"""Sentences about what was done; more would be no message any more."""


async def show(visit: Visit) -> Response:
    """Show a page of the worklist."""
    return await _page(visit, visit.request.query_params.get, is_shown=False)


async def show_people(visit: Visit) -> Response:
    """Show the same page with recipients."""
    return await _page(visit, visit.form.get, is_shown=True)


async def download(visit: Visit) -> Response:
    """Return the list as a file; with recipients, if that is asked for."""
    is_shown = bool(visit.form.get("shown"))
    wanted = _filter(visit.form.get)
    if is_shown:
        await visit.look("worklist", brand=wanted.brand_code)
    items = await views.every(
        *(visit.ledger, await visit.cut(), wanted),
        now=visit.now,
        most=_IN_FILE,
        letters=visit.console.unreadable.items,
    )
    content = views.file_of(items, visit.language, is_shown=is_shown)
    return visit.download("worklist.csv", content, "text/csv; charset=utf-8")


async def show_plan(visit: Visit) -> Response:
    """Show what an act would do."""
    return _plan_page(visit, await _planned(visit))


async def act(visit: Visit) -> Response:
    """Do what was shown, if it still is what would be done."""
    planned, reason = await _planned(visit), visit.form.get("why")
    if visit.form.get("digest") != planned.digest:
        return _plan_page(visit, planned, has_changed=True)
    if planned.act in _NEED_A_REASON and not reason:
        raise RefusedVisitError(422, "Say why: the history keeps it.")
    done = await carry_out(
        *(visit.ledger, visit.console.topic_messages, planned),
        reason=reason,
        by=visit.account.name,
        now=visit.now,
    )
    said = "; ".join(visit.text(one) for one in done[:_SAID])
    return visit.redirect(PATH, said=f"{said} …" if len(done) > _SAID else said)


async def _page(visit: Visit, get: Callable[..., str | None], *, is_shown: bool) -> Response:
    wanted, after = _filter(get), get("after") or ""
    found = await views.worklist(
        *(visit.ledger, await visit.cut(), wanted),
        now=visit.now,
        after=_place(visit.opened("after", after)) if after else None,
        letters=visit.console.unreadable.items,
    )
    if is_shown:
        await visit.look("worklist", {item.recipient for item in found.items} - {""})
    possible = [[one for one in WorkAct if one.is_for(item)] for item in found.items]
    counts = Counter[Need]()
    for group in found.groups:
        counts[group.kind] += group.items
    return visit.page(
        "worklist.html",
        wanted=wanted,
        query=_query(wanted),
        items=found.items,
        names=[_name(visit, item) for item in found.items],
        people=[one.recipient and visit.sealed("person", one.recipient) for one in found.items],
        called=await visit.brand_names(),
        item_acts=possible,
        page_acts=[one for one in WorkAct if any(one in some for some in possible)],
        may_decide=visit.may(Permit.DECIDE),
        counts=[(kind, counts[kind]) for kind in Need],
        uncertain={group.kind for group in found.groups if group.is_more},
        brands=sorted({one.brand_code for one in found.groups if one.brand_code is not None}),
        reasons={
            one.reason: views.title_of(one) for one in found.groups if one.kind is wanted.kind
        },
        after=after,
        next=found.next and visit.sealed("after", _APART.join(map(str, found.next))),
        is_shown=is_shown,
    )


async def _planned(visit: Visit) -> ActPlan:
    """Return what is to be done, by the form: about one item, those that are chosen, or all."""
    form, cut = visit.form, await visit.cut()
    ordered, _, one = (form.get("one") or form.get("act")).partition(":")
    if ordered not in set(WorkAct):
        raise RefusedVisitError(422, "Choose what to do.")
    chosen, is_whole = WorkAct(ordered), False
    if form.get("every"):
        items: Sequence[WorkItem] = await views.every(
            *(visit.ledger, cut, _filter(form.get)), now=visit.now, most=MOST_AT_ONCE
        )
        is_whole = len(items) < MOST_AT_ONCE
    else:
        rows = [one] if one else form.every("row")
        opened = (visit.opened("row", row).partition(_APART) for row in rows)
        names = {(kind, id_) for kind, _, id_ in opened}
        items = await views.named(visit.ledger, cut, names, now=visit.now)
    planned = await plan(visit.ledger, chosen, items, is_whole=is_whole)
    if not planned.items:
        raise RefusedVisitError(422, "Nothing is chosen about which this can be done.")
    return planned


def _plan_page(visit: Visit, planned: ActPlan, *, has_changed: bool = False) -> Response:
    wanted = _filter(visit.form.get)
    is_every = bool(visit.form.get("every"))
    return visit.page(
        "worklist_plan.html",
        planned=planned,
        listed=planned.items[: views.PAGE],
        names=[] if is_every else [_name(visit, one) for one in planned.items],
        query=_query(wanted),
        is_every=is_every,
        is_full=len(planned.items) >= MOST_AT_ONCE,
        needs_reason=planned.act in _NEED_A_REASON,
        has_changed=has_changed,
    )


def _filter(get: Callable[..., str | None]) -> Filter:
    kind, brand = get("kind") or "", get("brand") or ""
    return Filter(
        kind=Need(kind) if kind in set(Need) else None,
        brand_code=int(brand) if brand.isdecimal() and len(brand) < len(str(2**31)) else None,
        reason=get("reason") or None,
    )


def _query(wanted: Filter) -> dict[str, object]:
    """Return the fields of a filter that are set."""
    fields = {"kind": wanted.kind, "brand": wanted.brand_code, "reason": wanted.reason}
    return {name: value for name, value in fields.items() if value is not None}


def _name(visit: Visit, item: WorkItem) -> str:
    """Return what names an item in a form: it may name a recipient, so it is sealed."""
    return visit.sealed("row", f"{item.kind}{_APART}{item.id}")


def _place(opened: str) -> WorkPlace:
    until, kind, id_ = opened.split(_APART)
    return WorkPlace(datetime.fromisoformat(until), kind, id_)


SCREENS = (
    Screen(path=PATH, run=show, right=Permit.SEE),
    Screen(path=f"{PATH}/people", run=show_people, right=Permit.UNMASK, method="POST"),
    Screen(path=f"{PATH}/file", run=download, right=Permit.SEE, method="POST"),
    Screen(path=f"{PATH}/plan", run=show_plan, right=Permit.DECIDE, method="POST"),
    Screen(path=f"{PATH}/act", run=act, right=Permit.DECIDE, method="POST", largest=1024 * 1024),
)
