"""Reconciliation (mutabakat): a day's statistics, its agreement, its file, the file's timestamp.

Reports go back seven days. The file of a day is available once the day is over and `report_delay`
has passed; until then its hash is queued, then in progress. Partners need `agreementControl`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from starlette.responses import Response, StreamingResponse

from iys_simulator.api.reports.day_file import Day, day_of, file_chunks, file_hash, statistics
from iys_simulator.clock import instant
from iys_simulator.errors.responses import RefusedError, error_at, json_response, refused
from iys_simulator.errors.retailer_messages import RECIPIENT_TYPE_IN_REPORT
from iys_simulator.gateway.call import Call
from iys_simulator.gateway.permissions import forbidden
from iys_simulator.rules.consent import RECIPIENT_TYPES
from iys_simulator.state import SimulatorState
from iys_simulator.store.movements import Movement


async def show_statistics(state: SimulatorState, call: Call) -> Response:
    """Count a day's movements: `GET …/changes/{reportDate}/recipients/{recipientType}`.

    Raises:
        RefusedError: H116, H353, H501 or H502.
    """
    recipient_type = call.request.path_params["recipientType"]
    if recipient_type not in RECIPIENT_TYPES:
        invalid = error_at(
            "H116", "recipientType", recipient_type, message=RECIPIENT_TYPE_IN_REPORT
        )
        raise RefusedError(422, [invalid])
    day = _day(state, call)
    pending = Counter(
        consent.type
        for batch in state.batches.waiting()
        if batch.brand_code == call.brand.code and day.start <= batch.accepted_at < day.end
        for consent in batch.items
        if consent.recipient_type == recipient_type
    )
    counts = statistics(_movements(state, call, day), recipient_type, pending)
    return json_response({"changeStats": counts})


async def show_agreement(state: SimulatorState, call: Call) -> Response:
    """Return the hash of the day's file: `GET …/agreements/{reportDate}`; 204 where there is none.

    Raises:
        RefusedError: H353, H501 or H502.
    """
    day = _day(state, call)
    if not _has_file(state, call, day):
        return Response(status_code=204)
    status = _process_status(state, day)
    response: dict[str, object] = {"processStatus": status}
    if status == "completed":
        response["hashValue"] = _hash(state, call, day)
    response["hashMethod"] = "SHA-384"
    response["agreementStatus"] = state.is_agreed(call.brand.code, day.text)
    return json_response(response)


async def save_agreement(state: SimulatorState, call: Call) -> Response:
    """Save that the provider agrees: `PUT …/agreements/{reportDate}`. İYS compares no hash itself.

    Raises:
        RefusedError: H014, H353, H501, H502 or H512.
    """
    day = _day(state, call)
    body = call.json()
    if not isinstance(body, dict) or body.get("agreementStatus") is not True:
        raise refused("H512", location=["agreementStatus"])
    if not _has_file(state, call, day):
        return Response(status_code=204)
    state.agree(call.brand.code, day.text)
    return json_response({state.settings.agreement_key: True})


async def download_timestamp(state: SimulatorState, call: Call) -> Response:
    """Return a timestamp reply over the hash: `GET …/agreements/{reportDate}/timestamp`.

    Raises:
        RefusedError: H353, H501 or H502.
    """
    day = _day(state, call)
    if not _has_file(state, call, day) or _process_status(state, day) != "completed":
        return Response(status_code=204)
    made_at = instant(day.end + state.settings.report_delay)
    serial = call.brand.code * 10**8 + int(day.text.replace("-", ""))
    reply = state.timestamps.reply(_hash(state, call, day), made_at, serial)
    return Response(reply, media_type="text/plain", headers=_attachment(day, "tsr"))


async def download_file(state: SimulatorState, call: Call) -> Response:
    """Return the day's movements as CSV: `GET …/changes/{reportDate}/file`; 204 where it has none.

    Raises:
        RefusedError: H353, H501 or H502.
    """
    day = _day(state, call)
    if not _has_file(state, call, day) or _process_status(state, day) != "completed":
        return Response(status_code=204)
    return StreamingResponse(
        _chunks(state, call, day), media_type="text/csv", headers=_attachment(day, "csv")
    )


def _day(state: SimulatorState, call: Call) -> Day:
    if call.account.is_integrator:
        grant = state.directory.brands[call.brand.code].grant_to(call.account.iys_code)
        if grant is None or not grant.agreement_control:
            raise forbidden("brandCode")
    return day_of(str(call.request.path_params["reportDate"]), state.now_text())


async def _chunks(state: SimulatorState, call: Call, day: Day) -> AsyncIterator[bytes]:
    # A synchronous iterator would be read in another thread than the simulator's.
    movements = _movements(state, call, day)
    for chunk in file_chunks(movements, state.settings):
        yield chunk
        await asyncio.sleep(0)


def _movements(state: SimulatorState, call: Call, day: Day) -> Iterator[Movement]:
    return state.register_of(call.brand.code).between(day.start, day.end)


def _has_file(state: SimulatorState, call: Call, day: Day) -> bool:
    is_over = day.end <= state.clock.seconds()
    return is_over and next(_movements(state, call, day), None) is not None


def _process_status(state: SimulatorState, day: Day) -> str:
    elapsed, delay = state.clock.seconds() - day.end, state.settings.report_delay
    if elapsed >= delay:
        return "completed"
    return "queued" if elapsed < delay / 2 else "inprogress"


def _hash(state: SimulatorState, call: Call, day: Day) -> str:
    settings = state.settings
    key = (call.brand.code, day.text, settings.csv_header, settings.day_file_lines)
    if key not in state.hashes:
        chunks = file_chunks(_movements(state, call, day), settings)
        state.hashes[key] = file_hash(chunks)
    return state.hashes[key]


def _attachment(day: Day, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{day.text}.{ending}"'}
