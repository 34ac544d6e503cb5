"""Adding consents: one at once (V1, V2), or a list that is processed later (V1, V2).

Fields are checked before the register is read. A list is accepted as a whole or not at all: one
invalid field refuses it with 422, each error with the `index` of its item. The rules that need the
register are applied at once to a single add, and in the results of a list.
"""

import hashlib

import orjson
from starlette.responses import Response

from iys_simulator.api.batch_responses import receipt
from iys_simulator.errors.messages import NOT_JSON, REFUSALS, RETAILER_NOT_OF_USER
from iys_simulator.errors.responses import (
    Error,
    RefusedError,
    codes_in,
    error,
    error_at,
    json_response,
    refused,
)
from iys_simulator.gateway.call import Call
from iys_simulator.rules.consent import Consent
from iys_simulator.rules.consent_fields import ConsentListReader, ValidationContext, read_consent
from iys_simulator.rules.register_rules import refusal_code, refusal_text
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Brand
from iys_simulator.store.movements import Movement, Origin, WritePath
from iys_simulator.store.register import Register


async def add_consent(state: SimulatorState, call: Call) -> Response:
    """Register one consent: `POST …/consents`.

    Raises:
        RefusedError: a field, a right or the rules refuse the consent.
    """
    return _saved(_save(state, call, _single(state, call, call.json())))


async def add_consent_v2(state: SimulatorState, call: Call) -> Response:
    """Register one consent: `POST /v2/…/consents`; the same request gets the same response.

    Raises:
        RefusedError: a field, a right or the rules refuse the consent.
    """
    item = call.json()
    text = b"%b\n%b" % (call.request.url.query.encode(), _canonical(item, call.body))
    digest = hashlib.sha256(text).digest()
    register = state.register_of(call.brand.code)
    now, memory = state.clock.seconds(), state.settings.v2_memory
    # Looked up before the rules: a resend gets its response even when its date is too old by now.
    movement = register.response_to(digest, now - memory if memory else 0.0)
    if movement is None:
        movement = _save(state, call, _single(state, call, item), digest)
    return _saved(movement)


async def add_batch(state: SimulatorState, call: Call) -> Response:
    """Accept a list: `POST …/consents/request`; 202 means that it is queued.

    Raises:
        RefusedError: the list, a field, a right or the quota refuses it.
    """
    return _accept(state, call, is_v2=False)


async def add_batch_v2(state: SimulatorState, call: Call) -> Response:
    """Accept a list: `POST /v2/…/consents/request`; a resent consent refers to its first request.

    Raises:
        RefusedError: the list, a field, a right or the quota refuses it.
    """
    return _accept(state, call, is_v2=True)


def _canonical(item: object, body: bytes) -> bytes:
    """Return the item with sorted keys; the body as sent where it is nested too deep."""
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return body


def _single(state: SimulatorState, call: Call, item: object) -> Consent:
    if not isinstance(item, dict):
        raise refused("H085")
    if item.get("retailerCode") == "":
        raise refused("H267")
    consent = read_consent(item, _validation_context(state, call.brand))
    if isinstance(consent, list):
        if state.settings.late_status == "400" and codes_in(consent) == ["H467"]:
            raise RefusedError(400, [error("H467")])
        raise RefusedError(422, consent)
    call.check_rights([consent.type], to_write=True)
    errors = _retailer_errors(state, item, call.brand, message=RETAILER_NOT_OF_USER)
    if errors:
        raise RefusedError(403, errors)
    return consent


def _save(
    state: SimulatorState, call: Call, consent: Consent, digest: bytes | None = None
) -> Movement:
    register = state.register_of(call.brand.code)
    code = refusal_code(
        consent,
        register.summary_of(consent.key),
        state.settings,
        is_full=_is_over_quota(register, call.brand, consent),
    )
    if code is not None:
        text = refusal_text(code, consent.status, in_batch=False)
        raise refused(code, message=text)
    origin = Origin(path=WritePath.SINGLE, client=call.client, request_id=state.call_id("single"))
    with state.database.transaction():
        movement = state.save(call.brand, consent, origin)
        if digest is not None:
            register.remember_response(digest, movement, state.clock.seconds())
    return movement


def _saved(movement: Movement) -> Response:
    return json_response(
        {"transactionId": movement.transaction_id, "creationDate": movement.creation_date}
    )


def _accept(state: SimulatorState, call: Call, *, is_v2: bool) -> Response:
    items = call.json(NOT_JSON)
    if not isinstance(items, list) or not items:
        raise refused("H092")
    if len(items) > state.settings.batch_size:
        code = state.settings.batch_code
        text = REFUSALS[code].message.format(limit=state.settings.batch_size)
        raise refused(code, message=text)
    consents = _consents(items, _validation_context(state, call.brand))
    call.check_rights({consent.type for consent in consents}, to_write=True)
    missing = [
        {**found, "index": index}
        for index, item in enumerate(items)
        if "retailerCode" in item or "retailerAccess" in item
        for found in _retailer_errors(state, item, call.brand)
    ]
    if missing:
        raise RefusedError(403, missing)
    register = state.register_of(call.brand.code)
    if register.is_full(call.brand) and not all(
        register.has_recipient(consent.recipient) for consent in consents
    ):
        raise refused("H525")
    batch = state.batches.accept(
        consents,
        brand=call.brand,
        client=call.client,
        now=state.clock.seconds(),
        is_v2=is_v2,
        settings=state.settings,
    )
    return json_response(receipt(batch, state.settings), int(state.settings.batch_status))


def _consents(items: list[object], context: ValidationContext) -> list[Consent]:
    consents: list[Consent] = []
    errors: list[Error] = []
    seen: set[tuple[str, str, str]] = set()
    reader = ConsentListReader(context)
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


def _validation_context(state: SimulatorState, brand: Brand) -> ValidationContext:
    second = int(state.clock.seconds())
    return ValidationContext.at(second, brand.activated_at, state.settings)


def _is_over_quota(register: Register, brand: Brand, consent: Consent) -> bool:
    return register.is_full(brand) and not register.has_recipient(consent.recipient)


def _retailer_errors(
    state: SimulatorState, item: dict[str, object], brand: Brand, message: str | None = None
) -> list[Error]:
    errors = []
    if "retailerCode" in item and not state.retailers.has(brand, item["retailerCode"]):
        errors.append(error_at("H180", "retailerCode", item["retailerCode"], message=message))
    access = item.get("retailerAccess")
    errors += [
        error("H180", message=message, location=["retailerAccess", position], value=retailer)
        for position, retailer in enumerate(access if isinstance(access, list) else [])
        if not state.retailers.has(brand, retailer)
    ]
    return errors
