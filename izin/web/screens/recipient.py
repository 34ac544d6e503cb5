"""A recipient: what is known, and whether a message may be sent; evidence, and erasure.

Whom it is about is posted, and sealed in the forms of the page: no URL and no hidden field names a
person. Each page of a person is a look, which the history has first, whoever looks.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from starlette.responses import Response

from izin.consent import SourceError
from izin.evidence.collection import EvidenceRequest
from izin.ledger import brands
from izin.ledger.privacy import erasure
from izin.runtime.masking import masked
from izin.views import recipient
from izin.views.explanation import Explanation, as_it_is
from izin.views.recipient import KnownRecipient, Section
from izin.views.remedies import remedy_of_parked
from izin.views.words import SLASHES, is_key, normalised, read_instant
from izin.web.visit import Permit, Screen, Visit, forbidden

PAGE = "recipient.html"
_NO_EVIDENCE = (
    "There is no evidence for this brand, or a part of it is another customer's: have it collected "
    "by somebody who sees every customer."
)


async def show(visit: Visit) -> Response:
    """Show the search."""
    return visit.page(PAGE, person=None, fault="")


async def search(visit: Visit) -> Response:
    """Show whom the search names, or the form of the page."""
    typed = visit.form.get("recipient")
    if not typed:
        return await shown(visit, visit.opened("person"))
    try:
        found = normalised(typed)
    except SourceError:
        fault = visit.text("That is neither a phone number nor an e-mail address.")
        return visit.page(PAGE, status=422, person=None, fault=fault)
    return await shown(visit, found.split("/", SLASHES)[-1] if is_key(found) else found)


def said_of(visit: Visit, *, is_shown: bool = False) -> Explanation:
    """Return what says in the language of the page what is known: with recipients masked, unless a
    look at them is in the history.
    """
    return Explanation(visit.words, as_it_is if is_shown else partial(masked, ""))


async def known(visit: Visit, person: str) -> KnownRecipient:
    """Return what is known of a person, as far as the visit may see it."""
    digests = visit.console.settings.suppressions
    return await recipient.find(visit.ledger, person, visit.customer, digests)


async def shown(visit: Visit, person: str, *, done: str = "", fault: str = "") -> Response:
    """Return the page of a person; ``done`` or ``fault`` says what became of an act."""
    is_shown = bool(visit.form.get("unmask"))
    await visit.look("recipient", [person], right=Permit.UNMASK if is_shown else Permit.SEE)
    found, said = await known(visit, person), said_of(visit, is_shown=is_shown)
    asked_at = instant_of(visit, "at")
    if visit.form.get("at") and asked_at is None:
        fault = visit.text("That is no instant; write it as 2026-01-31T12:00.")
    # What waits for a person is first, and keys of which nothing is known are last.
    sections = sorted(
        found.sections(), key=lambda one: 2 if one.row is None else one.row.state != "parked"
    )
    keys = [section.key for section in sections]
    then = {} if asked_at is None else await recipient.states_at(visit.ledger, keys, asked_at)
    cut = await visit.cut()
    owners = {key.split("/")[0] for key in keys}
    return visit.page(
        PAGE,
        person=visit.sealed("person", person),
        name=visit.masked(person, is_shown=is_shown),
        is_shown=is_shown,
        at=visit.form.get("at"),
        asked_at=asked_at,
        cards=[_card(visit, found, said, section, then) for section in sections],
        looks=said.history_rows(found.looks),
        unread=found.unread and visit.text(found.unread),
        brands=[one for code, one in found.brands.items() if str(code) in owners and cut.has(code)],
        done=done,
        fault=fault,
    )


def _card(
    visit: Visit,
    found: KnownRecipient,
    said: Explanation,
    section: Section,
    then: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what the page has of one key, which is sealed in it; ``then`` has what stood at the
    instant that was asked for.
    """
    key, row, stood = section.key, section.row, then.get(section.key)
    brand = found.brands.get(int(key.split("/")[0]))
    # Looks at everybody of a brand say nothing of this recipient.
    shown_facts = [one for one in section.facts if one.key == key or one.data.get("act") != "look"]
    card: dict[str, Any] = {
        "key": visit.sealed("key", key),
        "heading": said.heading(key),
        "brand": "" if brand is None else brand.name,
        "row": row,
        "then": stood,
        "then_answer": stood and said.answer(may_send=stood["may_send"], reason=stood["reason"]),
        "history": said.history_rows(shown_facts),
        "deliveries": said.delivery_rows(one for one in found.sent if one["key"] == key),
    }
    if row is not None:
        waits = recipient.needs_confirmation(row)
        is_parked = row.state == "parked" and not waits
        card |= {
            "state": said.state_rows(row, found.suspended(said, row), found.gate(said, row)),
            "remedy": is_parked
            and visit.text(remedy_of_parked(row.brand_code, row.reason, key=key)),
            "may_send": found.may_send(row),
            "needs_confirmation": waits,
        }
    return card


def instant_of(visit: Visit, name: str) -> datetime | None:
    """Return the instant that a field has, which is Turkish time; None: it has none."""
    try:
        return read_instant(visit.form.get(name))
    except (ValueError, OverflowError):
        return None


async def evidence(visit: Visit) -> Response:
    """Return the evidence archive of a person and a brand, which the history has."""
    person, code, reason = visit.opened("person"), visit.form.get("brand"), visit.form.get("reason")
    cut, every = await visit.cut(), await brands.every(visit.ledger)
    brand = next((one for one in every if str(one.brand_code) == code), None)
    if brand is None or not cut.has(brand.brand_code):
        raise forbidden()
    if not reason:
        return await shown(visit, person, fault=visit.text("Say what the evidence is needed for."))
    await visit.look("recipient evidence", [person], right=Permit.COMPLAIN)
    request = EvidenceRequest(
        recipient=person,
        brand_code=brand.brand_code,
        channel=None,
        at=instant_of(visit, "at") or visit.now,
        by=visit.account.name,
        reason=reason,
    )
    try:
        made = await recipient.evidence_of(
            *(visit.ledger, visit.console.topic_messages, request),
            now=visit.now,
            customer=visit.customer,
        )
    except SourceError:
        return await shown(visit, person, fault=visit.text(_NO_EVIDENCE))
    name = f"kanit-{code}-{visit.now:%Y%m%d-%H%M%S}.zip"
    return visit.download(name, made.content, "application/zip")


async def erase(visit: Visit) -> Response:
    """Show what the erasure of a person would erase, and erase that once it is ordered."""
    person = visit.opened("person")
    await visit.look("recipient erase", [person], right=Permit.ERASE)
    try:
        found = await recipient.erasable(visit.ledger, [person], visit.customer)
    except SourceError:
        return await shown(visit, person)
    wanted, said = [one.key for one in found if one.may_be_erased], said_of(visit)
    if visit.form.get("erasure"):
        if json.loads(visit.opened("erasure")) != wanted:
            changed = visit.text("What is known has changed since it was shown; look at it again.")
            return await shown(visit, person, fault=changed)
        numbers = await erasure.request(
            *(visit.ledger, visit.console.topic_messages, wanted),
            by=visit.account.name,
            now=visit.now,
        )
        done = visit.text("%(count)s keys are being erased.", count=len(numbers))
        return await shown(visit, person, done=done)
    return visit.page(
        "recipient_erase.html",
        person=visit.sealed("person", person),
        planned=visit.sealed("erasure", json.dumps(wanted)),
        name=visit.masked(person),
        count=len(wanted),
        rows=[
            (
                said.heading(one.key),
                one.customer_id,
                visit.text("yes" if one.may_be_erased else "no"),
                one.entries,
                f"{until:%d.%m.%Y} ({article})" if until else "",
                "; ".join(one.obstacles_in(visit.text)),
            )
            for one in found
            for until, article in [recipient.kept(one)]
        ],
    )


SCREENS = (
    Screen(path="/recipient", run=show, right=Permit.SEE),
    Screen(path="/recipient", run=search, right=Permit.SEE, method="POST"),
    Screen(path="/recipient/evidence", run=evidence, right=Permit.COMPLAIN, method="POST"),
    Screen(path="/recipient/erase", run=erase, right=Permit.ERASE, method="POST"),
)
