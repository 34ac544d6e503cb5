"""The admin API under `/__simulator__/`: set the twin up, play the citizen, look at what it holds.

It has no login and belongs on a loopback address. Field names are camelCase as İYS's own; a wrong
body is answered with 400 `{"error": "…"}` and changes nothing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route

from iys_simulator.admin.controls import Steering
from iys_simulator.admin.request_body import BadOrderError, Order, fields_of, order_of
from iys_simulator.errors.responses import RefusedError, json_answer, json_bytes
from iys_simulator.faults import Writer
from iys_simulator.gateway.gateway import parsed
from iys_simulator.other_writers import ON_THE_WEB, act, citizens_consent, write
from iys_simulator.rules.fields import RECIPIENT_TYPES, STATUSES, Consent
from iys_simulator.settings import UnknownSettingError
from iys_simulator.state import Twin
from iys_simulator.store.accounts import (
    CHANNELS,
    Account,
    Brand,
    Grant,
    Right,
    Subscription,
    SubscriptionState,
)
from iys_simulator.store.movements import Movement
from iys_simulator.store.register import Register

_LINES_AT_ONCE = 2000


def admin_routes(twin: Twin) -> list[Mount]:
    """Give the routes of the admin API of `twin`."""
    admin, steering = _Admin(twin), Steering(twin)
    posts = {
        "/accounts": admin.accounts,
        "/brands": admin.brands,
        "/citizen": admin.citizen,
        "/writers": admin.writers,
        "/clock": steering.clock,
        "/weather": steering.weather,
        "/settings": admin.change_settings,
        "/clients": admin.readmit,
        "/reset": admin.reset,
    }
    gets = {
        "/register": admin.register,
        "/movements": admin.movements,
        "/requests": steering.requests,
        "/requests/log": steering.request_log,
        "/clock": steering.show_clock,
        "/weather": steering.show_weather,
        "/settings": admin.show_settings,
        "/clients": admin.clients,
        "/health": admin.health,
    }
    routes = [Route(path, _following(work), methods=["POST"]) for path, work in posts.items()]
    routes += [Route(path, _following(work), methods=["GET"]) for path, work in gets.items()]
    routes.append(Route("/weather", _following(steering.clear_weather), methods=["DELETE"]))
    return [Mount("/__simulator__", routes=routes)]


class _Admin:
    """The methods of the admin API."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    async def accounts(self, request: Request) -> Response:
        order = await order_of(request)
        account = Account(
            username=order.text("username"),
            password=order.text("password"),
            iys_code=order.whole("iysCode"),
            role=order.text("role", "API_USER"),
            is_integrator=order.flag("isIntegrator", default=False),
        )
        state = order.one_of("subscription", tuple(SubscriptionState), SubscriptionState.ACTIVE)
        subscription = Subscription(
            iys_code=account.iys_code,
            state=SubscriptionState(state),
            includes_api=order.flag("includesApi", default=True),
            via_credit=order.whole("viaCredit") if order.has("viaCredit") else None,
            via_pass_credit=order.whole("viaPassCredit") if order.has("viaPassCredit") else None,
        )
        self._twin.directory.add_account(account, subscription)
        return json_answer({"username": account.username, "iysCode": account.iys_code}, 201)

    async def brands(self, request: Request) -> Response:
        brand = _brand(await order_of(request))
        self._twin.directory.add_brand(brand)
        return json_answer(
            {
                "brandCode": brand.code,
                "iysCode": brand.iys_code,
                "name": brand.name,
                "activatedAt": brand.activated_at,
                "consentLimit": brand.consent_limit,
                "rights": brand.rights,
                "retailers": sorted(brand.retailers),
                "grants": [_grant_row(grant) for grant in brand.grants],
            },
            201,
        )

    async def citizen(self, request: Request) -> Response:
        orders = _movement_orders(parsed(await request.body()))
        acts = [self._act(order) for order in orders]
        answer = []
        for brand, consent, citizen_name in acts:
            movement = act(self._twin, brand, consent, citizen_name)
            answer.append(movement_row(movement, brand.code))
        return json_answer({"movements": answer})

    async def writers(self, request: Request) -> Response:
        body = parsed(await request.body())
        writer = Writer(Order(fields=fields_of(body)).one_of("writer", tuple(Writer)))
        orders = _movement_orders(body)
        brands = [self._brand_of(order) for order in orders]
        saved, refusals = [], []
        for index, (order, brand) in enumerate(zip(orders, brands, strict=True)):
            item = {name: value for name, value in order.fields.items() if name != "brandCode"}
            try:
                movement = write(self._twin, brand, item, writer)
            except RefusedError as refusal:
                refusals.append({"index": index, "errors": refusal.errors})
                continue
            saved.append(movement_row(movement, brand.code))
        return json_answer({"movements": saved, "refused": refusals})

    async def register(self, request: Request) -> Response:
        def rows(code: int, register: Register) -> Iterator[dict[str, object]]:
            for movement, count in register.records():
                yield {**record_row(movement, code), "movements": count}

        return self._stream(request, rows)

    async def movements(self, request: Request) -> Response:
        def rows(code: int, register: Register) -> Iterator[dict[str, object]]:
            for movement in register.movements():
                yield movement_row(movement, code)

        return self._stream(request, rows)

    async def change_settings(self, request: Request) -> Response:
        order = await order_of(request)
        self._twin.settings = self._twin.settings.changed(order.fields)
        return await self.show_settings(request)

    async def show_settings(self, _: Request) -> Response:
        return json_answer(self._twin.settings.as_dict())

    async def clients(self, _: Request) -> Response:
        return json_answer({"clients": self._twin.limits.quality.told()})

    async def readmit(self, request: Request) -> Response:
        self._twin.limits.quality.readmit((await order_of(request)).text("client"))
        return await self.clients(request)

    async def reset(self, request: Request) -> Response:
        order = await order_of(request)
        await self._twin.reset(
            everything=order.flag("everything", default=False),
            seed=order.whole("seed") if order.has("seed") else None,
        )
        return json_answer({"status": "ok"})

    async def health(self, _: Request) -> Response:
        twin = self._twin
        return json_answer(
            {
                "status": "ok",
                "nowTurkey": twin.now_text(),
                "accounts": len(twin.directory.accounts),
                "brands": len(twin.directory.brands),
                "batches": len(twin.batches),
            }
        )

    def _brand_of(self, order: Order) -> Brand:
        brand = self._twin.directory.brands.get(order.whole("brandCode"))
        if brand is None:
            raise BadOrderError("brandCode: no such brand")
        return brand

    def _act(self, order: Order) -> tuple[Brand, Consent, str]:
        brand = self._brand_of(order)
        source = order.text("source", ON_THE_WEB)
        if not source.startswith("IYS_"):
            raise BadOrderError("source: a citizen's source begins with IYS_")
        consent = citizens_consent(
            self._twin,
            brand,
            channel=order.one_of("type", CHANNELS),
            recipient_type=order.one_of("recipientType", RECIPIENT_TYPES, "BIREYSEL"),
            recipient=order.text("recipient"),
            status=order.one_of("status", STATUSES),
            source=source,
            consent_date=order.text("consentDate") if order.has("consentDate") else None,
        )
        return brand, consent, order.text("citizenName") if order.has("citizenName") else ""

    def _stream(
        self, request: Request, rows: Callable[[int, Register], Iterator[dict[str, object]]]
    ) -> Response:
        asked = request.query_params.get("brandCode")
        codes = list(self._twin.directory.brands)
        if asked is not None:
            codes = [code for code in codes if str(code) == asked]
            if not codes:
                raise BadOrderError("brandCode: no such brand")
        registers = [(code, self._twin.register_of(code)) for code in codes]

        async def lines() -> AsyncIterator[bytes]:
            waiting: list[bytes] = []
            for code, register in registers:
                for row in rows(code, register):
                    waiting.append(json_bytes(row))
                    if len(waiting) == _LINES_AT_ONCE:
                        yield b"\n".join(waiting) + b"\n"
                        waiting.clear()
            if waiting:
                yield b"\n".join(waiting) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def record_row(movement: Movement, brand_code: int) -> dict[str, object]:
    """Give A current record as the register is told."""
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


def movement_row(movement: Movement, brand_code: int) -> dict[str, object]:
    """Give an accepted movement with how it came; `occurredAt` is machine epoch milliseconds."""
    return {
        **record_row(movement, brand_code),
        "sequence": movement.sequence,
        "occurredAt": movement.occurred_at,
        "path": movement.origin.path.value,
        "client": movement.origin.client,
        "requestId": movement.origin.request_id,
        "subRequestId": movement.origin.sub_request_id,
    }


def _movement_orders(body: object) -> list[Order]:
    if isinstance(body, dict):
        body = body.get("movements")
    if not isinstance(body, list):
        raise BadOrderError("a list of movements, or {movements: [...]}")
    return [Order(fields=fields_of(entry)) for entry in body]


def _brand(order: Order) -> Brand:
    retailers = order.fields.get("retailers", [])
    if not isinstance(retailers, list) or not all(isinstance(code, int) for code in retailers):
        raise BadOrderError("retailers: a list of codes")
    grants = order.fields.get("grants", [])
    if not isinstance(grants, list):
        raise BadOrderError("grants: a list")
    return Brand(
        code=order.whole("brandCode"),
        iys_code=order.whole("iysCode"),
        name=order.text("name", "Marka"),
        title=order.text("title") if order.has("title") else "",
        activated_at=order.text("activatedAt") if order.has("activatedAt") else None,
        consent_limit=order.whole("consentLimit") if order.has("consentLimit") else None,
        rights=_rights(order),
        retailers=frozenset(retailers),
        grants=tuple(_grant(Order(fields=fields_of(grant))) for grant in grants),
    )


def _rights(order: Order) -> dict[str, Right]:
    rights = order.fields.get("rights", dict.fromkeys(CHANNELS, Right.WRITE.value))
    if not isinstance(rights, dict) or not set(rights) <= set(CHANNELS):
        raise BadOrderError("rights: {ARAMA|MESAJ|EPOSTA: write|read}")
    if not all(right in tuple(Right) for right in rights.values()):
        raise BadOrderError("rights: write or read")
    return {channel: Right(right) for channel, right in rights.items()}


def _grant(order: Order) -> Grant:
    return Grant(
        integrator_code=order.whole("integratorCode"),
        rights=_rights(order),
        agreement_control=order.flag("agreementControl", default=True),
        via_control=order.flag("viaControl", default=False),
    )


def _grant_row(grant: Grant) -> dict[str, object]:
    return {
        "integratorCode": grant.integrator_code,
        "rights": grant.rights,
        "agreementControl": grant.agreement_control,
        "viaControl": grant.via_control,
    }


def _following(
    work: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def followed(request: Request) -> Response:
        try:
            return await work(request)
        except (BadOrderError, UnknownSettingError) as problem:
            return json_answer({"error": str(problem)}, 400)
        except RefusedError:
            return json_answer({"error": "the body is no JSON"}, 400)

    return followed
