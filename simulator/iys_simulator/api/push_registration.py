"""Push connections: register an address, list them, unregister one."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from iys_simulator.errors.messages import NOT_REMOVED, PASSWORD_MISSING, message_of
from iys_simulator.errors.responses import RefusedError, error, json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.rules.consent import CHANNELS
from iys_simulator.state import SimulatorState
from iys_simulator.store.push_connections import Connection

_REGISTERED: Final = "Bağlantı Oluşturuldu"
_NOT_REGISTERED: Final = "Bağlantı Oluşturulamadı"
_CREDENTIALS: Final = {"username": message_of("H093"), "password": PASSWORD_MISSING}


async def register_push(state: SimulatorState, call: Call) -> Response:
    """Register push addresses: `POST …/push/registration` tests each before it is active.

    Raises:
        RefusedError: H014, H093, H111, H117, H191, H530 or H531.
    """
    body = call.json()
    entries = body.get("connection") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not entries:
        raise refused("H014")
    connections = [_connection(state, call, entry) for entry in entries]
    for connection in connections:
        try:
            if state.push.is_full(connection):
                raise refused("H530")
            await state.push.verify(connection)
        except RefusedError:
            state.push.save_registration(
                connection, is_active=False, register_time=state.now_text()
            )
            raise
        state.push.save_registration(connection, is_active=True, register_time=state.now_text())
    return json_response({"message": "Bağlantı oluşturuldu"})


async def list_push(state: SimulatorState, call: Call) -> Response:
    """List all connections and their state: `GET …/push/registration`."""
    return json_response(
        [
            {
                "url": registration.connection.url,
                "type": registration.connection.type,
                "registerTime": registration.register_time,
                "status": _REGISTERED if registration.is_active else _NOT_REGISTERED,
            }
            for registration in state.push.registrations_of(call.brand.code)
        ]
    )


async def unregister_push(state: SimulatorState, call: Call) -> Response:
    """Stop deliveries to one address: `POST …/push/unregistration`.

    Raises:
        RefusedError: H014, H093, H111, H117, H530 or H531.
    """
    if not state.push.remove(_connection(state, call, call.json())):
        raise refused("H530", message=NOT_REMOVED)
    return json_response({"message": "Bağlantı Kaldırıldı"})


def _connection_errors(
    entry: dict[str, object], channels: Sequence[str], *, https: bool
) -> list[dict[str, object]]:
    """Return all errors of a connection's fields (H531, H111, H117, H093)."""
    errors = []
    url, channel = entry.get("url"), entry.get("type")
    if not isinstance(url, str) or not url:
        errors.append(error("H531", location=["url"]))
    elif not url.startswith("https://" if https else ("https://", "http://")):
        errors.append(error("H531"))
    if "type" not in entry:
        errors.append(error("H111", location=["type"]))
    elif channel not in channels:
        errors.append(error("H117", location=["type"], value=channel))
    for name, text in _CREDENTIALS.items():
        value = entry.get(name)
        if not isinstance(value, str) or not value:
            errors.append(error("H093", message=text, location=[name]))
    return errors


def _connection(state: SimulatorState, call: Call, entry: object) -> Connection:
    if not isinstance(entry, dict):
        raise refused("H014")
    errors = _connection_errors(entry, CHANNELS, https=state.settings.push_https_required)
    if errors:
        raise RefusedError(422, errors)
    return Connection(
        brand_code=call.brand.code,
        iys_code=call.brand.iys_code,
        url=str(entry["url"]),
        type=str(entry["type"]),
        username=str(entry["username"]),
        password=str(entry["password"]),
    )
