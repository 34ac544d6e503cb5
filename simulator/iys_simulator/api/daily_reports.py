"""Reconciliation (mutabakat): a day's statistics, its agreement, its file, the file's timestamp.

Seven days back and no further. The file of a day is there once the day is over and `report_delay`
has passed; till then its hash is queued, then in progress. Partners need `agreementControl`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from starlette.responses import Response, StreamingResponse

from iys_simulator.api.day_file import Day, day_of, file_chunks, file_hash, statistics
from iys_simulator.api.timestamp_reply import timestamp_reply
from iys_simulator.clock import instant
from iys_simulator.errors.responses import RefusedError, error_at, json_answer, refused
from iys_simulator.errors.retailer_messages import KIND_IN_REPORT
from iys_simulator.gateway.gateway import Call
from iys_simulator.rules.fields import RECIPIENT_TYPES
from iys_simulator.state import Twin
from iys_simulator.store.accounts import forbidden
from iys_simulator.store.movements import Movement


async def day_statistics(twin: Twin, call: Call) -> Response:
    """`GET …/changes/{reportDate}/recipients/{recipientType}`: approvals, rejections, pending."""
    kind = call.request.path_params["recipientType"]
    if kind not in RECIPIENT_TYPES:
        wrong = error_at("H116", "recipientType", kind, message=KIND_IN_REPORT)
        raise RefusedError(422, [wrong])
    day = _day(twin, call)
    pending = Counter(
        consent.type
        for batch in twin.batches.waiting()
        if batch.brand_code == call.brand.code and day.start <= batch.accepted_at < day.end
        for consent in batch.items
        if consent.recipient_type == kind
    )
    counted = statistics(_movements(twin, call, day), kind, pending)
    return json_answer({"changeStats": counted})


async def agreement(twin: Twin, call: Call) -> Response:
    """`GET …/agreements/{reportDate}`: the hash of the day's file; 204 where there is none."""
    day = _day(twin, call)
    if not _has_file(twin, call, day):
        return Response(status_code=204)
    status = _process_status(twin, day)
    answer: dict[str, object] = {"processStatus": status}
    if status == "completed":
        answer["hashValue"] = _hash(twin, call, day)
    answer["hashMethod"] = "SHA-384"
    answer["agreementStatus"] = twin.is_agreed(call.brand.code, day.text)
    return json_answer(answer)


async def save_agreement(twin: Twin, call: Call) -> Response:
    """`PUT …/agreements/{reportDate}` with `agreementStatus` true: İYS compares no hash itself."""
    day = _day(twin, call)
    body = call.json()
    if not isinstance(body, dict) or body.get("agreementStatus") is not True:
        raise refused("H512", location=["agreementStatus"])
    if not _has_file(twin, call, day):
        return Response(status_code=204)
    twin.agree(call.brand.code, day.text)
    return json_answer({twin.settings.agreement_key: True})


async def agreement_timestamp(twin: Twin, call: Call) -> Response:
    """`GET …/agreements/{reportDate}/timestamp`: a timestamp reply over the file's hash."""
    day = _day(twin, call)
    if not _has_file(twin, call, day) or _process_status(twin, day) != "completed":
        return Response(status_code=204)
    made_at = instant(day.end + twin.settings.report_delay)
    serial = call.brand.code * 10**8 + int(day.text.replace("-", ""))
    reply = timestamp_reply(_hash(twin, call, day), made_at, serial)
    return Response(reply, media_type="text/plain", headers=_attachment(day, "tsr"))


async def day_file(twin: Twin, call: Call) -> Response:
    """`GET …/changes/{reportDate}/file`: all movements of the day as CSV; 204 where none is."""
    day = _day(twin, call)
    if not _has_file(twin, call, day) or _process_status(twin, day) != "completed":
        return Response(status_code=204)
    return StreamingResponse(
        _chunks(twin, call, day), media_type="text/csv", headers=_attachment(day, "csv")
    )


def _day(twin: Twin, call: Call) -> Day:
    if call.account.is_integrator:
        grant = twin.directory.brands[call.brand.code].grant_to(call.account.iys_code)
        if grant is None or not grant.agreement_control:
            raise forbidden("brandCode")
    return day_of(str(call.request.path_params["reportDate"]), twin.now_text())


async def _chunks(twin: Twin, call: Call, day: Day) -> AsyncIterator[bytes]:
    # As a plain iterator it would be read in a thread, beside the twin's own.
    movements = _movements(twin, call, day)
    for chunk in file_chunks(movements, twin.settings):
        yield chunk
        await asyncio.sleep(0)


def _movements(twin: Twin, call: Call, day: Day) -> Iterator[Movement]:
    return twin.register_of(call.brand.code).between(day.start, day.end)


def _has_file(twin: Twin, call: Call, day: Day) -> bool:
    is_over = day.end <= twin.clock.seconds()
    return is_over and next(_movements(twin, call, day), None) is not None


def _process_status(twin: Twin, day: Day) -> str:
    passed, delay = twin.clock.seconds() - day.end, twin.settings.report_delay
    if passed >= delay:
        return "completed"
    return "queued" if passed < delay / 2 else "inprogress"


def _hash(twin: Twin, call: Call, day: Day) -> str:
    settings = twin.settings
    kept = (call.brand.code, day.text, settings.csv_header, settings.day_file_lines)
    if kept not in twin.hashes:
        chunks = file_chunks(_movements(twin, call, day), settings)
        twin.hashes[kept] = file_hash(chunks)
    return twin.hashes[kept]


def _attachment(day: Day, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{day.text}.{ending}"'}
