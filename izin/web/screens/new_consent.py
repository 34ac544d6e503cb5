"""A new consent in hand: what it is and what proves it, the plan, and its publication. A recorded
consent that waits for a person is confirmed here, too.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import Response

from izin.consent import ConsentKey, OurError, Source, SourceError, Status
from izin.evidence.words import SOURCES
from izin.kafka.clients import access_of
from izin.ledger import reads
from izin.ledger.record import Brand, ConsentRow
from izin.producers.mapping.records import RefusedRecord
from izin.producers.new_event import NewEvent
from izin.views import recipient
from izin.views.i18n import Language
from izin.views.words import SLASHES, read_instant
from izin.web.forms import SMALL
from izin.web.screens.recipient import known, said_of, shown
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit, forbidden

LARGEST: Final = 10_000_000
"""Bytes of a form with a file: a scan."""
_ASKED, _PAUSE = 24, 0.25
"""How often a decision is looked for, and the seconds between."""
OWN = tuple(
    source
    for source in Source
    if source.startswith("HS_") and source not in {Source.HS_KARAR, Source.HS_2015}
)
"""Where a provider takes consents today."""


async def form(visit: Visit) -> Response:
    """Show the form of a consent, with what is recorded of the one that waits."""
    key, row, _ = await _of_key(visit, visit.opened("key"))
    await visit.look("recipient consent", [key], right=Permit.DECIDE)
    return _form(visit, key, row)


async def plan(visit: Visit) -> Response:
    """Show the consent as it would be published, or why it is not."""
    key, row, brand = await _of_key(visit, visit.opened("key"))
    await visit.look("recipient consent", [key], right=Permit.DECIDE)
    fields, faults = _fields(visit), list[str]()
    if fields["consent_date"] is None:
        faults.append(visit.text("Say when the consent was given."))
    if not fields["evidence"]:
        faults.append(visit.text("Say what proves the consent."))
    if fields["consent_date"] and row is not None and _is_recorded(row, fields["consent_date"]):
        faults.append(visit.text("A consent of this instant is recorded already."))
    if not faults:
        judged = recipient.judged(_event(visit, key, fields), brand)
        is_turkish = visit.language is Language.TURKISH
        faults += [one.reason_tr if is_turkish else one.reason for one in judged.violations]
        if not isinstance(judged, RefusedRecord) and not faults:
            return visit.page(
                "recipient_consent_plan.html",
                **_shared(visit, key, row),
                fields=fields,
                source=named(visit, fields["source"]),
                planned=visit.sealed("consent", json.dumps([key, fields])),
            )
    return _form(visit, key, row, faults)


async def publish(visit: Visit) -> Response:
    """Publish the consent as it was planned; confirm it where it waits for that."""
    planned, fields = json.loads(visit.opened("consent"))
    key, _, _ = await _of_key(visit, planned)
    event = _event(visit, key, fields)
    person = key.split("/", SLASHES)[-1]
    try:
        published = await recipient.publish(access_of(visit.console.kafka), event)
    except (SourceError, OurError):
        raise RefusedVisitError(
            503, "Kafka did not take the consent; it was not recorded. Try again."
        ) from None
    for _ in range(_ASKED):
        decided = await recipient.decision_on(visit.ledger, key, published.event_id)
        if decided is not None:
            break
        await asyncio.sleep(_PAUSE)
    else:
        wait = visit.text("The consent is published, and not decided on yet. Look again soon.")
        return await shown(visit, person, done=wait)
    done = visit.text(
        "The consent is published: %(decision)s.",
        decision=said_of(visit).decided(decided.data["reason"]),
    )
    rows = await reads.rows(visit.ledger, [key])
    if rows and rows[0].desired_event_id == published.event_id:
        done = f"{done} {await _confirmed(visit, rows[0], proof='')}".strip()
    return await shown(visit, person, done=done)


async def confirm(visit: Visit) -> Response:
    """Show what a confirmation of the consent that waits means; confirm it once it is ordered."""
    key, row, _ = await _of_key(visit, visit.opened("key"))
    person = key.split("/", SLASHES)[-1]
    await visit.look("recipient consent", [key], right=Permit.DECIDE)
    changed = visit.text("What is known has changed since it was shown; look at it again.")
    if row is None or not recipient.needs_confirmation(row):
        return await shown(visit, person, fault=changed)
    state = f"{key} {row.desired_event_id} {row.updated_at.isoformat()}"
    proof = visit.form.get("proof")
    if not visit.form.get("confirmation") or not proof:
        return visit.page(
            "recipient_confirm.html",
            **_shared(visit, key, row),
            planned=visit.sealed("confirmation", state),
        )
    if visit.opened("confirmation") != state:
        return await shown(visit, person, fault=changed)
    done = await _confirmed(visit, row, proof=proof)
    return await shown(visit, person, done=done, fault="" if done else changed)


async def _confirmed(visit: Visit, row: ConsentRow, *, proof: str) -> str:
    """Confirm the consent of a row that waits for it; return what to say, nothing where it was
    not.
    """
    is_confirmed = recipient.needs_confirmation(row) and await recipient.confirm(
        visit.ledger,
        visit.console.topic_messages,
        row,
        proof=proof,
        by=visit.account.name,
        now=visit.console.clock(),
    )
    return visit.text("It is confirmed as new, and goes to İYS.") if is_confirmed else ""


async def _of_key(visit: Visit, key: str) -> tuple[str, ConsentRow | None, Brand]:
    """Return a key that a form has sealed, its row, and its brand, as far as the visit sees
    them.
    """
    found = await known(visit, key)
    section = next((one for one in found.sections() if one.key == key), None)
    brand = found.brands.get(int(key.split("/", maxsplit=1)[0]))
    if section is None or brand is None or not (await visit.cut()).has(brand.brand_code):
        raise forbidden()
    return key, section.row, brand


def _fields(visit: Visit) -> dict[str, Any]:
    """Return what the form says of a consent, as JSON has it."""
    posted = visit.form
    try:
        given = read_instant(posted.get("given")).isoformat()
    except (ValueError, OverflowError):
        given = None
    file = posted.file("file")
    evidence = {"proof": posted.get("proof"), "file": "" if file is None else file.name}
    return {
        "consent_date": given,
        "source": posted.get("source"),
        "notice_version": posted.get("notice") or None,
        "evidence": {name: text for name, text in evidence.items() if text},
        "evidence_hash": None if file is None else hashlib.sha256(file.content).hexdigest(),
        "origin_ref": f"console-{secrets.token_hex(8)}",
    }


def _event(visit: Visit, key: str, fields: dict[str, Any]) -> NewEvent:
    """Return the event of a consent. With its reference and date it is one event, however often it
    is published.
    """
    parsed = ConsentKey.parse(key)
    return NewEvent(
        brand_code=parsed.brand_code,
        type=parsed.channel,
        recipient_type=parsed.recipient_type,
        recipient=parsed.recipient,
        status=Status.ONAY,
        actor=visit.account.name,
        **(fields | {"consent_date": read_instant(fields["consent_date"])}),
    )


def _shared(visit: Visit, key: str, row: ConsentRow | None) -> dict[str, Any]:
    """Return what the pages of a consent have."""
    return {
        "heading": said_of(visit).heading(key),
        "person": visit.sealed("person", key.split("/", SLASHES)[-1]),
        "key": visit.sealed("key", key),
        "row": row,
        "when": visit.words.when,
    }


def _is_recorded(row: ConsentRow, consent_date: str) -> bool:
    """Whether the consent that is desired is of this instant: another of it might change nothing,
    and then nobody would know what proves it.
    """
    at = row.desired_at
    if row.desired_status != Status.ONAY or at is None:
        return False
    return at.replace(microsecond=0) == read_instant(consent_date)


def _form(visit: Visit, key: str, row: ConsentRow | None, faults: Sequence[str] = ()) -> Response:
    """Return the form, as it was posted."""
    return visit.page(
        "recipient_consent.html",
        status=422 if faults else 200,
        **_shared(visit, key, row),
        faults=faults,
        posted={name: visit.form.get(name) for name in ("given", "source", "notice", "proof")},
        sources={one: named(visit, one) for one in OWN},
    )


def named(visit: Visit, source: str) -> str:
    """Return a source as the language of the page calls it."""
    return f"{SOURCES[source]} ({source})" if visit.language is Language.TURKISH else source


SCREENS = tuple(
    Screen(
        path=f"/recipient/consent{path}",
        run=run,
        right=Permit.DECIDE,
        method="POST",
        largest=size,
    )
    for path, run, size in (
        ("", form, SMALL),
        ("/plan", plan, LARGEST),
        ("/publish", publish, SMALL),
        ("/confirm", confirm, SMALL),
    )
)
