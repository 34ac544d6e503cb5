"""Consents of the admin API: write as a citizen or another writer, and list what is registered."""

from collections.abc import AsyncIterator, Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from iys_simulator.admin.request_body import InvalidBodyError, RequestBody, as_object, read_body
from iys_simulator.errors.responses import RefusedError, json_bytes, json_response
from iys_simulator.faults import Writer
from iys_simulator.gateway.call import parse_json
from iys_simulator.other_writers import (
    ON_THE_WEB,
    citizen_consent,
    save_citizen_change,
    save_via_consents,
    write,
)
from iys_simulator.rules.consent import CHANNELS, RECIPIENT_TYPES, STATUSES, Consent
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Brand
from iys_simulator.store.movements import Movement
from iys_simulator.store.register import Register

_LINES_AT_ONCE = 2000

Row = dict[str, object]


class ConsentsAdmin:
    """The admin endpoints that write and list consents."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def save_citizen_changes(self, request: Request) -> Response:
        """Save changes as citizens make them at İYS, and push them; all or none."""
        bodies = _movement_bodies(parse_json(await request.body()))
        changes = [self._citizen_change(body) for body in bodies]
        rows = []
        for brand, consent, citizen_name in changes:
            movement = save_citizen_change(self._state, brand, consent, citizen_name)
            rows.append(movement_row(movement, brand.code))
        return json_response({"movements": rows})

    async def write_as_other(self, request: Request) -> Response:
        """Save consents as the portal or another integrator does, by İYS's rules."""
        content = parse_json(await request.body())
        writer = Writer(RequestBody(fields=as_object(content)).one_of("writer", tuple(Writer)))
        bodies = _movement_bodies(content)
        brands = [self._brand_of(body) for body in bodies]
        saved, refusals = [], []
        for index, (body, brand) in enumerate(zip(bodies, brands, strict=True)):
            item = {name: value for name, value in body.fields.items() if name != "brandCode"}
            try:
                movement = write(self._state, brand, item, writer)
            except RefusedError as refusal:
                refusals.append({"index": index, "errors": refusal.errors})
                continue
            saved.append(movement_row(movement, brand.code))
        return json_response({"movements": saved, "refused": refusals})

    async def list_via_requests(self, _: Request) -> Response:
        """List the requests of ViA, the oldest first, each with its code or that of its link."""
        now = self._state.clock.seconds()
        rows = [
            {
                "requestId": one.request_id,
                "formId": one.form_id,
                "recipient": one.recipient,
                "verificationType": one.verification_type,
                "brandCodes": list(one.brand_codes),
                "types": list(one.types),
                "code": one.code,
                "lastStatus": one.last_status(now),
            }
            for one in self._state.via_requests.values()
        ]
        return json_response({"requests": rows})

    async def accept_via_request(self, request: Request) -> Response:
        """Consent by the link of a request of ViA, as the person does who opens it."""
        name = (await read_body(request)).text("requestId")
        found = self._state.via_requests.get(name)
        if found is None or found.is_by_code or found.is_over(self._state.clock.seconds()):
            raise InvalidBodyError("requestId: no request whose link can be opened")
        if not found.given:
            save_via_consents(self._state, found)
        return json_response({"requestId": name})

    async def list_records(self, request: Request) -> Response:
        """List the current records as NDJSON: `?brandCode=`."""

        def rows(code: int, register: Register) -> Iterator[Row]:
            for movement, count in register.records():
                yield {**record_row(movement, code), "movements": count}

        return self._stream(request, rows)

    async def list_movements(self, request: Request) -> Response:
        """List every accepted movement as NDJSON: `?brandCode=`."""

        def rows(code: int, register: Register) -> Iterator[Row]:
            for movement in register.movements():
                yield movement_row(movement, code)

        return self._stream(request, rows)

    def _brand_of(self, body: RequestBody) -> Brand:
        brand = self._state.directory.brands.get(body.whole("brandCode"))
        if brand is None:
            raise InvalidBodyError("brandCode: no such brand")
        return brand

    def _citizen_change(self, body: RequestBody) -> tuple[Brand, Consent, str]:
        brand = self._brand_of(body)
        source = body.text("source", ON_THE_WEB)
        if not source.startswith("IYS_"):
            raise InvalidBodyError("source: a citizen's source begins with IYS_")
        consent = citizen_consent(
            self._state,
            brand,
            channel=body.one_of("type", CHANNELS),
            recipient_type=body.one_of("recipientType", RECIPIENT_TYPES, "BIREYSEL"),
            recipient=body.text("recipient"),
            status=body.one_of("status", STATUSES),
            source=source,
            consent_date=body.optional_text("consentDate"),
        )
        return brand, consent, body.optional_text("citizenName") or ""

    def _stream(self, request: Request, rows: Callable[[int, Register], Iterator[Row]]) -> Response:
        brand_code = request.query_params.get("brandCode")
        codes = list(self._state.directory.brands)
        if brand_code is not None:
            codes = [code for code in codes if str(code) == brand_code]
            if not codes:
                raise InvalidBodyError("brandCode: no such brand")
        registers = [(code, self._state.register_of(code)) for code in codes]

        async def lines() -> AsyncIterator[bytes]:
            pending: list[bytes] = []
            for code, register in registers:
                for row in rows(code, register):
                    pending.append(json_bytes(row))
                    if len(pending) == _LINES_AT_ONCE:
                        yield b"\n".join(pending) + b"\n"
                        pending.clear()
            if pending:
                yield b"\n".join(pending) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def record_row(movement: Movement, brand_code: int) -> Row:
    """Return a current record."""
    return {
        "brandCode": brand_code,
        "type": movement.type,
        "recipientType": movement.recipient_type,
        "recipient": movement.recipient,
        "status": movement.status,
        "source": movement.source,
        "consentDate": movement.consent_date,
        "creationDate": movement.creation_date,
        "transactionId": movement.transaction_id,
    }


def movement_row(movement: Movement, brand_code: int) -> Row:
    """Return an accepted movement with its origin.

    `occurredAt` is in epoch milliseconds of the machine's clock.
    """
    return {
        **record_row(movement, brand_code),
        "sequence": movement.sequence,
        "occurredAt": movement.occurred_at,
        "path": movement.origin.path.value,
        "client": movement.origin.client,
        "requestId": movement.origin.request_id,
        "subRequestId": movement.origin.sub_request_id,
    }


def _movement_bodies(content: object) -> list[RequestBody]:
    if isinstance(content, dict):
        content = content.get("movements")
    if not isinstance(content, list):
        raise InvalidBodyError("a list of movements, or {movements: [...]}")
    return [RequestBody(fields=as_object(entry)) for entry in content]
