"""Adding consents: one at once (V1, V2) and lists for later (V1, V2).

Fields are checked before the register is looked at. A list is taken whole or not at all: one wrong
field refuses all of it with 422, every error with the `index` of its item. What needs the register
is told at once for a single add and in the results for a list.
"""

import hashlib

import orjson
from starlette.responses import Response

from iys_simulator.api.batch_responses import receipt
from iys_simulator.errors.messages import REFUSALS, RETAILER_NOT_OF_USER
from iys_simulator.errors.responses import (
    Error,
    RefusedError,
    codes_in,
    error,
    error_at,
    json_answer,
    refused,
)
from iys_simulator.gateway.gateway import Call
from iys_simulator.rules.fields import Consent, ListReader, Today, read_consent
from iys_simulator.rules.register_rules import refusal_code, refusal_text
from iys_simulator.state import Twin
from iys_simulator.store.accounts import Brand
from iys_simulator.store.movements import Movement, Origin, Path
from iys_simulator.store.register import Register


async def add(twin: Twin, call: Call) -> Response:
    """`POST …/consents`: register one consent and answer its transactionId."""
    return _saved(_save(twin, call, _single(twin, call, call.json())))


async def add_v2(twin: Twin, call: Call) -> Response:
    """`POST /v2/…/consents`: as V1, but the same body to the same path gives the same answer."""
    item = call.json()
    text = b"%b\n%b" % (call.request.url.query.encode(), _canonical(item, call.body))
    digest = hashlib.sha256(text).digest()
    register = twin.register_of(call.brand.code)
    now, memory = twin.clock.seconds(), twin.settings.v2_memory
    # Looked up before the rules: a resend must be answered even when its date has run out.
    movement = register.answered(digest, now - memory if memory else 0.0)
    if movement is None:
        movement = _save(twin, call, _single(twin, call, item), digest)
    return _saved(movement)


async def add_batch(twin: Twin, call: Call) -> Response:
    """`POST …/consents/request`: take a list in; 202 says it is in the queue."""
    return _accept(twin, call, is_v2=False)


async def add_batch_v2(twin: Twin, call: Call) -> Response:
    """`POST /v2/…/consents/request`: a consent saved before succeeds with its first request."""
    return _accept(twin, call, is_v2=True)


def _canonical(item: object, body: bytes) -> bytes:
    """Give the item with its keys in order; the body as sent where it is nested too deep."""
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return body


def _single(twin: Twin, call: Call, item: object) -> Consent:
    if not isinstance(item, dict):
        raise refused("H085")
    if item.get("retailerCode") == "":
        raise refused("H267")
    consent = read_consent(item, _today(twin, call.brand))
    if isinstance(consent, list):
        if twin.settings.late_status == "400" and codes_in(consent) == ["H467"]:
            raise RefusedError(400, [error("H467")])
        raise RefusedError(422, consent)
    call.check_rights([consent.type], to_write=True)
    errors = _retailer_errors(twin, item, call.brand, message=RETAILER_NOT_OF_USER)
    if errors:
        raise RefusedError(403, errors)
    return consent


def _save(twin: Twin, call: Call, consent: Consent, digest: bytes | None = None) -> Movement:
    register = twin.register_of(call.brand.code)
    code = refusal_code(
        consent,
        register.standing(consent.key),
        twin.settings,
        is_full=_has_no_room(register, call.brand, consent),
    )
    if code is not None:
        text = refusal_text(code, consent.status, in_batch=False)
        raise refused(code, message=text)
    origin = Origin(path=Path.SINGLE, client=call.client, request_id=twin.call_id("single"))
    with twin.database.transaction():
        movement = twin.save(call.brand, consent, origin)
        if digest is not None:
            register.note_answer(digest, movement, twin.clock.seconds())
    return movement


def _saved(movement: Movement) -> Response:
    return json_answer(
        {"transactionId": movement.transaction_id, "creationDate": movement.creation_date}
    )


def _accept(twin: Twin, call: Call, *, is_v2: bool) -> Response:
    items = call.json()
    if not isinstance(items, list) or not items:
        raise refused("H092")
    if len(items) > twin.settings.batch_size:
        code = twin.settings.batch_code
        text = REFUSALS[code].message.format(limit=twin.settings.batch_size)
        raise refused(code, message=text)
    consents = _consents(items, _today(twin, call.brand))
    call.check_rights({consent.type for consent in consents}, to_write=True)
    missing = [
        {**found, "index": index}
        for index, item in enumerate(items)
        if "retailerCode" in item or "retailerAccess" in item
        for found in _retailer_errors(twin, item, call.brand)
    ]
    if missing:
        raise RefusedError(403, missing)
    register = twin.register_of(call.brand.code)
    if register.is_full(call.brand) and not all(
        register.knows_address(consent.recipient) for consent in consents
    ):
        raise refused("H525")
    batch = twin.batches.accept(
        consents,
        brand=call.brand,
        client=call.client,
        now=twin.clock.seconds(),
        is_v2=is_v2,
        settings=twin.settings,
    )
    return json_answer(receipt(batch, twin.settings), int(twin.settings.batch_status))


def _consents(items: list[object], today: Today) -> list[Consent]:
    consents: list[Consent] = []
    errors: list[Error] = []
    seen: set[tuple[str, str, str]] = set()
    reader = ListReader(today)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise refused("H092")
        if item.get("retailerCode") == "":
            raise refused("H267", index=index)
        consent = reader.read(item)
        if isinstance(consent, list):
            errors += [{**found, "index": index} for found in consent]
        elif (key := consent.key) in seen:
            errors.append(error("H194", index=index))
        else:
            seen.add(key)
            consents.append(consent)
    if errors:
        raise RefusedError(422, errors)
    return consents


def _today(twin: Twin, brand: Brand) -> Today:
    return Today.at(int(twin.clock.seconds()), brand, twin.settings)


def _has_no_room(register: Register, brand: Brand, consent: Consent) -> bool:
    return register.is_full(brand) and not register.knows_address(consent.recipient)


def _retailer_errors(
    twin: Twin, item: dict[str, object], brand: Brand, message: str | None = None
) -> list[Error]:
    errors = []
    if "retailerCode" in item and not twin.retailers.has(brand, item["retailerCode"]):
        errors.append(error_at("H180", "retailerCode", item["retailerCode"], message=message))
    access = item.get("retailerAccess")
    errors += [
        error("H180", message=message, location=["retailerAccess", position], value=retailer)
        for position, retailer in enumerate(access if isinstance(access, list) else [])
        if not twin.retailers.has(brand, retailer)
    ]
    return errors
