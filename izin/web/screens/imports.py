"""Imports: a file is uploaded, its columns get a meaning, it is checked and imported, and its
refused rows are corrected in the page.

Nothing is published before a check has said what that would do. While a task is at a file its page
shows how far it is; one that was stopped goes on where it was.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from starlette.responses import Response

from izin.consent import Channel, SourceError
from izin.ledger.console import mappings
from izin.producers.mapping.choices import names_status, says_who_refused
from izin.producers.mapping.field_names import Field, field_of
from izin.producers.mapping.saved import FileMapping, mapping_in
from izin.runtime.masking import mask_text
from izin.schemas.words import WORDS, fold
from izin.views.imports import FileSample, brands_to_import
from izin.web import pages
from izin.web.forms import Form
from izin.web.imports.runs import ImportTask
from izin.web.imports.store import ImportFault, ImportStage, ImportStore, StoredImport
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit, forbidden

IMPORTS = "/imports"
ONE = "/imports/{id}"
LARGEST = 64 * 2**20
"""Bytes of a file."""
_BESIDE = 2**20
"""Bytes of what a form has beside a file, and of one with many columns."""
_LISTED = 100
_MOST = 50
"""Imports of a customer whose files are kept: a folder that is full would take nobody's."""
_MOST_WORDS = 100
_LONGEST_NAME = 200
_OPTIONAL: Final = {
    "header_row": 7,
    "day_order": 3,
    "excel_epoch": 4,
    "time_of_day": 8,
    "origin": 40,
}
"""What a mapping may say beside columns and words, and so many characters of it."""
_LEFT_OUT: Final = "-"
CHANGED = "This has changed meanwhile; open the page again."
FIELDS: Final = {
    Field.RECIPIENT: "Recipient (telephone or e-mail)",
    Field.PHONE: "Telephone",
    Field.EMAIL: "E-mail address",
    Field.TYPE: "Channel (ARAMA, MESAJ, EPOSTA)",
    Field.STATUS: "Status (ONAY, RET)",
    Field.SOURCE: "Source of the consent",
    Field.CONSENT_DATE: "Date of the consent",
    Field.RECIPIENT_TYPE: "Recipient type (BIREYSEL, TACIR)",
    Field.BRAND_CODE: "Brand code",
    Field.ORIGIN_REF: "Reference number",
    Field.SEQUENCE: "Sequence number",
    Field.ACTOR: "Who recorded it",
    Field.CORRELATION_ID: "Correlation id",
    Field.RETAILER_CODE: "Retailer code",
    Field.RETAILER_ACCESS: "Retailers with access",
    Field.NOTICE_VERSION: "Version of the notice",
    Field.EVIDENCE_HASH: "Digest of the evidence",
}
"""What a column may hold."""
_OF_CHANNELS: Final = (Field.STATUS, Field.CONSENT_DATE, Field.SOURCE)
GIVEN: Final = (Field.TYPE, Field.STATUS, Field.SOURCE, Field.RECIPIENT_TYPE)
"""What may be given for all rows, by a value of its own, beside the brand."""
COUNTS: Final = {
    "rows": "Rows",
    "published": "Published",
    "reversals": "Given back: each reverses an opt-out",
    "past_term": "Opt-ins past their term: void unless İYS holds them",
    "not_registrable": "Opt-outs published, to be corrected",
    "without_recipient": "Opt-outs of a channel without an address",
    "silent": "Rows that say nothing",
    "repeated_headers": "Headers that come again",
    "refused": "Refused",
    "refused_reversals": "Opt-ins left out: they would reverse an opt-out",
}
OUTCOMES: Final = {
    "OPT_OUT_NOT_IMPORTED": "Opt-outs (RET) that are refused",
    "UNCLEAR_NOT_IMPORTED": "Rows whose status cannot be read: they may be opt-outs",
    "NOT_IMPORTED": "Opt-ins that are refused",
    "REVERSAL": "Opt-ins left out: they would reverse an opt-out",
    "PUBLISHED": "Opt-outs published, to be corrected",
    "WOULD_BE_PUBLISHED": "Opt-outs that will be published, to be corrected",
}


def _store(visit: Visit) -> ImportStore:
    folder = visit.console.settings.uploads
    if folder is None:
        raise forbidden()
    return ImportStore(folder)


async def found(visit: Visit) -> tuple[Visit, StoredImport]:
    """Return the import of the path, and the visit as one of its customer.

    Raises:
        RefusedVisitError: there is none, or it is of a customer that the account does not see.
    """
    stored = await asyncio.to_thread(_store(visit).find, visit.request.path_params["id"])
    if stored is None or not visit.account.sees(stored.state.customer):
        raise forbidden()
    return replace(visit, customer=stored.state.customer), stored


def _stage(visit: Visit, stored: StoredImport) -> str:
    stage = stored.state.stage
    is_stopped = stage.is_work and visit.console.imports.find(stored.id) is None
    return "interrupted" if is_stopped else stage.value


async def show(visit: Visit) -> Response:
    """Show the imports of the customer, and where to upload a file."""
    is_ready = visit.console.settings.uploads is not None
    every = await asyncio.to_thread(lambda: list(_store(visit).every())) if is_ready else []
    seen = [
        one
        for one in every
        if visit.account.sees(one.state.customer) and visit.customer in {None, one.state.customer}
    ]
    seen.sort(key=lambda one: one.state.uploaded_at, reverse=True)
    return visit.page(
        "imports.html",
        is_ready=is_ready,
        may_import=visit.may(Permit.IMPORT),
        imports=[(one, _stage(visit, one)) for one in seen[:_LISTED]],
        largest=LARGEST // 2**20,
        kept=visit.console.settings.uploads_kept,
    )


async def upload(visit: Visit) -> Response:
    """Store a file of the customer that is shown, or of the one that the form names."""
    store, file = _store(visit), visit.form.file("file")
    customer = visit.form.get("customer") or visit.customer
    if customer not in {one.customer_id for one in visit.customers}:
        raise forbidden()
    if file is None:
        raise RefusedVisitError(422, "Choose a file first.")
    every = await asyncio.to_thread(lambda: list(store.every()))
    if sum(one.state.customer == customer for one in every) >= _MOST:
        raise RefusedVisitError(409, "There are too many files of this customer; delete some.")
    by, now = visit.account.name, visit.now
    name = file.name[:_LONGEST_NAME]
    number = await asyncio.to_thread(store.add, customer, name, file.content, by=by, now=now)
    return visit.redirect(f"{IMPORTS}/{number}")


async def show_one(visit: Visit) -> Response:
    """Show how far an import is: what its file has, what a check found, or what became of it."""
    visit, stored = await found(visit)
    state = stored.state
    context: dict[str, Any] = {
        "stored": stored,
        "state": state,
        "stage": _stage(visit, stored),
        "task": visit.console.imports.find(stored.id),
        "may_import": visit.may(Permit.IMPORT),
        "counts": COUNTS,
        "outcomes": OUTCOMES,
        "fault": state.fault and _said(visit, state.fault),
        "kept": visit.console.settings.uploads_kept,
        "sample": None,
        "problem": None,
    }
    if context["task"] is None and context["may_import"] and not state.stage.has_begun:
        context |= await _reading(visit, stored)
    return visit.page("import.html", **context)


async def _reading(visit: Visit, stored: StoredImport) -> dict[str, Any]:
    """Return what the form of a mapping has, and the first rows that are read by it."""
    mapping = stored.state.mapping
    sample, problem = await _sample(visit, stored)
    columns = () if sample is None else tuple(_columns(sample, mapping))
    words = {
        (field, word): str(value)
        for field, own in mapping.values.items()
        if not isinstance(own, str)
        for word, value in own.items()
    }
    unknown = () if sample is None else sample.words
    held = _held(columns)
    constants = {str(field_of(name)): str(value) for name, value in mapping.constants.items()}
    said = held | constants.keys() | {Field.RECIPIENT_TYPE}
    return {
        "sample": sample,
        "problem": problem,
        "columns": columns,
        "held": held,
        "unsaid": [
            FIELDS[field] for field in (Field.BRAND_CODE, *GIVEN) if columns and field not in said
        ],
        "fields": FIELDS,
        "channel_fields": [
            (f"{channel}.{field}", channel, FIELDS[field])
            for channel in Channel
            for field in _OF_CHANNELS
        ],
        "given": [(field, FIELDS[field], tuple(WORDS[field])) for field in GIVEN],
        "words": [
            (field, word, value, tuple(WORDS[field]))
            for (field, word), value in (dict.fromkeys(unknown, "") | words).items()
            if field in WORDS
        ][:_MOST_WORDS],
        "mapping": mapping,
        "constants": constants,
        "brands": sorted(
            await brands_to_import(visit.ledger, stored.state.customer),
            key=lambda brand: brand.brand_code,
        ),
        "saved": tuple(await mappings.every(visit.ledger, stored.state.customer)),
        "longest_name": mappings.LONGEST_NAME,
    }


def _held(columns: Iterable["MappedColumn"]) -> set[str]:
    """Return the fields that columns hold; one of a channel says which it is of."""
    held = {part for one in columns for part in (one.chosen or one.held).split(".")}
    return held | ({Field.TYPE} if held & set(Channel) else set())


async def _sample(visit: Visit, stored: StoredImport) -> tuple[FileSample | None, str | None]:
    """Return the first rows of a file, and why no row can be read."""
    try:
        sample = await visit.console.imports.sample(visit.ledger, stored, now=visit.now)
    except SourceError as error:
        return None, _said(visit, error)
    problem = sample.preview.problem
    return sample, None if problem is None else _said(visit, problem)


def _said(visit: Visit, fault: SourceError | ImportFault) -> str:
    # Where a file has no header, the name of a column is a recipient.
    values = {name: mask_text(str(value)) for name, value in fault.values.items()}
    return visit.text(fault.wording, **values)


class MappedColumn(NamedTuple):
    """A column in the form of a mapping."""

    name: str
    held: str
    """What its name says that it holds; empty: nothing that is known."""
    is_left_out: bool
    chosen: str
    may_refuse: bool
    """Whether it may say who opted out, so that leaving it out is to be confirmed."""
    is_confirmed: bool


def _columns(sample: FileSample, mapping: FileMapping) -> Iterator[MappedColumn]:
    chosen = {fold(name): _LEFT_OUT for name in mapping.ignore}
    chosen |= {fold(name): held for name, held in mapping.columns.items()}
    confirmed = set(map(fold, mapping.confirm))
    for name, column in zip(sample.names, sample.preview.columns, strict=True):
        yield MappedColumn(
            column.name,
            "" if column.held is None else str(column.held),
            column.is_left_out,
            chosen.get(fold(name), ""),
            says_who_refused(name) or names_status(name),
            fold(name) in confirmed,
        )


async def save_mapping(visit: Visit) -> Response:
    """Keep how the file is read: as the form says, or as a mapping that was saved."""
    visit, stored = await found(visit)
    form, state = visit.form, stored.state
    if state.stage.has_begun or visit.console.imports.find(stored.id):
        raise RefusedVisitError(409, CHANGED)
    if name := form.get("saved"):
        saved = await mappings.every(visit.ledger, state.customer)
        if name not in saved:
            raise RefusedVisitError(409, CHANGED)
        mapping = mapping_in(saved[name], FileMapping, name)
    else:
        sample, _ = await _sample(visit, stored)
        mapping = _mapping(form, state.mapping, () if sample is None else sample.names)
    if name := form.get("save_as")[: mappings.LONGEST_NAME]:
        if len(mapping.text) > mappings.LONGEST:
            raise RefusedVisitError(422, "The mapping is too long to be saved.")
        if mask_text(mapping.text) != mapping.text:
            raise RefusedVisitError(
                422, "The names of the columns look like recipients: which row names the columns?"
            )
        await mappings.save(
            visit.ledger,
            state.customer,
            name,
            mapping.text,
            by=visit.account.name,
            now=visit.now,
        )
    stored.save(
        mapping=mapping,
        stage=ImportStage.UPLOADED,
        found=None,
        fault=None,
        changed_at=visit.now,
    )
    return visit.redirect(f"{IMPORTS}/{stored.id}")


def _mapping(form: Form, former: FileMapping, names: Sequence[str]) -> FileMapping:
    """Return the mapping that a form describes, of a file with columns of these ``names``.

    Raises:
        RefusedVisitError: it is none.
    """
    held = {name: form.get(f"column-{place}") for place, name in enumerate(names)}
    words: dict[str, dict[str, str]] = {}
    for place in range(_MOST_WORDS):
        field, _, word = form.get(f"of-{place}").partition(":")
        if value := form.get(f"word-{place}"):
            words.setdefault(field, {})[word] = value
    optional = {name: form.get(name)[:longest] for name, longest in _OPTIONAL.items()}
    given: dict[str, Any] = {
        "columns": {name: one for name, one in held.items() if one not in {"", _LEFT_OUT}},
        "ignore": [name for name, one in held.items() if one == _LEFT_OUT],
        "confirm": [name for place, name in enumerate(names) if form.get(f"confirm-{place}")],
        "constants": {name: one for name, one in form.starting("given-").items() if one},
        "values": {word: one for word, one in former.values.items() if isinstance(one, str)}
        | words,
        **{name: one for name, one in optional.items() if one},
    }
    try:
        return FileMapping.model_validate(given)
    except ValidationError:
        raise RefusedVisitError(
            422, "A number or a time of the form cannot be read; correct it."
        ) from None


async def run(visit: Visit) -> Response:
    """Begin to check or import the file, or its corrected rows; or go on where that had stopped."""
    visit, stored = await found(visit)
    state, asked = stored.state, visit.form.get("stage")
    is_planned = visit.form.get("plan") == state.changed_at.isoformat()
    allowed = {
        ImportStage.CHECKING: not state.stage.has_begun,
        ImportStage.IMPORTING: state.stage is ImportStage.IMPORTING
        or (state.stage is ImportStage.CHECKED and is_planned),
        ImportStage.CORRECTING: state.stage is ImportStage.CORRECTING
        or (state.stage is ImportStage.IMPORTED and bool(state.edits.rows)),
    }
    if asked not in {stage.value for stage, may in allowed.items() if may}:
        raise RefusedVisitError(409, CHANGED)
    start(visit, stored, ImportStage(asked))
    return visit.redirect(f"{IMPORTS}/{stored.id}")


def start(visit: Visit, stored: StoredImport, stage: ImportStage) -> None:
    """Begin a task, in the name of who is signed in."""
    console = visit.console
    task = ImportTask(
        stored=stored,
        stage=stage,
        ledger=console.ledger,
        kafka=console.kafka,
        by=visit.account.name,
        clock=console.clock,
    )
    console.imports.start(task)


async def watch(visit: Visit) -> Response:
    """Send how far a task is, until it has ended."""
    visit, stored = await found(visit)

    async def render() -> str:
        task = visit.console.imports.find(stored.id)
        address = visit.address(f"{IMPORTS}/{stored.id}")
        return pages.rendered("import_task.html", visit.language, task=task, address=address)

    return visit.console.live.watch(("import", stored.id, visit.language), render)


async def delete(visit: Visit) -> Response:
    """Delete the file, with its refused rows; what was published stays."""
    visit, stored = await found(visit)
    if visit.console.imports.find(stored.id):
        raise RefusedVisitError(409, CHANGED)
    await asyncio.to_thread(_store(visit).delete, stored)
    visit.console.imports.forget(stored.id)
    return visit.redirect(IMPORTS, said=visit.text("The file and its refused rows are deleted."))


SCREENS = (
    Screen(path=IMPORTS, run=show, right=Permit.SEE),
    Screen(
        path=IMPORTS,
        run=upload,
        right=Permit.IMPORT,
        method="POST",
        largest=LARGEST + _BESIDE,
    ),
    Screen(path=ONE, run=show_one, right=Permit.SEE),
    Screen(path=f"{ONE}/live", run=watch, right=Permit.SEE),
    Screen(
        path=f"{ONE}/mapping",
        run=save_mapping,
        right=Permit.IMPORT,
        method="POST",
        largest=_BESIDE,
    ),
    Screen(path=f"{ONE}/run", run=run, right=Permit.IMPORT, method="POST"),
    Screen(path=f"{ONE}/delete", run=delete, right=Permit.IMPORT, method="POST"),
)
