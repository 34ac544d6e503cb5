"""Responses about batches: the 202 with its sub-requests, and the results.

İYS spells the id of an item `subRequestId` on success and failure and `subrequestId` while it
waits; its schema has only the latter (switch `subRequestSpelling`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from iys_simulator.clock import wire_text
from iys_simulator.errors.responses import error, json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.rules.consent import Consent
from iys_simulator.rules.register_rules import refusal_text
from iys_simulator.settings import Settings
from iys_simulator.state import SimulatorState
from iys_simulator.store.batches import Batch, BatchOutcomes
from iys_simulator.store.movements import sub_request_ids, transaction_id
from iys_simulator.store.register import Register

_REQUEST_ID_LENGTH = 36
_SPELLINGS = {
    "mixed": ("subRequestId", "subrequestId"),
    "subRequestId": ("subRequestId", "subRequestId"),
    "subrequestId": ("subrequestId", "subrequestId"),
}

Item = dict[str, object]


async def show_results(state: SimulatorState, call: Call) -> Response:
    """Return the outcome of each item of a batch: `GET …/consents/request/{requestId}`.

    Raises:
        RefusedError: H198, H199 or H400.
    """
    return _show_results(state, call, is_v2=False)


async def show_results_v2(state: SimulatorState, call: Call) -> Response:
    """Return the same with the first request of a resend: `GET /v2/…/consents/request/{requestId}`.

    Raises:
        RefusedError: H198, H199 or H400.
    """
    return _show_results(state, call, is_v2=True)


def receipt(batch: Batch, settings: Settings) -> Item:
    """Return the content of the 202: the requestId and a sub-request for each item, in order."""
    creation_date = wire_text(int(batch.accepted_at))
    key = _SPELLINGS[settings.sub_request_spelling][0]
    ids = sub_request_ids(batch.request_id, batch.size)
    return {
        "requestId": batch.request_id,
        "subRequests": [
            _receipt_item(consent, key, sub_request_id, creation_date)
            for consent, sub_request_id in zip(batch.items, ids, strict=True)
        ],
    }


def _show_results(state: SimulatorState, call: Call, *, is_v2: bool) -> Response:
    request_id = str(call.request.path_params["requestId"])
    _check_request_id(request_id)
    register = state.register_of(call.brand.code)
    now, settings = state.clock.seconds(), state.settings
    batch = state.batches.find(request_id, call.brand.code, now, settings.result_days)
    return json_response(_results(batch, register, now, is_v2=is_v2, settings=settings))


def _check_request_id(request_id: str) -> None:
    if len(request_id) > _REQUEST_ID_LENGTH:
        raise refused("H198", location=["requestId"], value=request_id)
    if request_id.isalpha():
        raise refused("H199", location=["requestId"], value=request_id)
    if request_id.isdigit():
        raise refused("H400", location=["requestId"], value=request_id)


def _results(
    batch: Batch | None, register: Register, now: float, *, is_v2: bool, settings: Settings
) -> list[Item]:
    """Return the results of a batch at `now`; none for unknown and too recent batches."""
    if batch is None:
        return []
    key, waiting_key = _SPELLINGS[settings.sub_request_spelling]
    first_index = 0 if settings.result_index == "from_0" else 1
    ids = sub_request_ids(batch.request_id, batch.size)
    if batch.outcomes is None:
        if now < batch.enqueued_at:
            return []
        return [
            {"index": index, "status": "enqueue", waiting_key: sub_request_id}
            for index, sub_request_id in enumerate(ids, first_index)
        ]
    writer = _ResultWriter(batch=batch, key=key, register=register, settings=settings, is_v2=is_v2)
    return writer.items(batch.outcomes, ids, first_index)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ResultWriter:
    """Writes the results of one processed batch."""

    batch: Batch
    key: str
    register: Register
    settings: Settings
    is_v2: bool

    def items(self, outcomes: BatchOutcomes, ids: Sequence[str], first_index: int) -> list[Item]:
        batch = self.batch
        count = batch.size - len(outcomes.refused) - len(outcomes.resent)
        saved = iter(self.register.saved_items(outcomes.first, count))
        second = int(batch.due_at)
        creation_date = wire_text(second)
        items: list[Item] = []
        for place, sub_request_id in enumerate(ids):
            index = place + first_index
            if place in outcomes.refused:
                items.append(self._failure(outcomes.refused[place], sub_request_id, index))
            elif place in outcomes.resent:
                items.append(self._resent(outcomes.resent[place], sub_request_id, index))
            else:
                channel, recipient = next(saved)
                new_id = transaction_id(batch.brand_code, channel, recipient, second)
                items.append(self._success(new_id, creation_date, sub_request_id, index))
        return items

    def _failure(self, refusal: str, sub_request_id: str, index: int) -> Item:
        code, _, status = refusal.partition(" ")
        content = error(code, message=refusal_text(code, status, in_batch=True))
        return {self.key: sub_request_id, "index": index, "status": "failure", "error": content}

    def _success(self, new_id: str, creation_date: str, sub_request_id: str, index: int) -> Item:
        item: Item = {
            "requestId": self.batch.request_id,
            self.key: sub_request_id,
            "index": index,
            "transactionId": new_id,
            "status": "success",
            "creationDate": creation_date,
        }
        if self.is_v2:
            as_text = self.settings.v2_flag == "text"
            item["isAddConsentV2Service"] = "true" if as_text else True
        return item

    def _resent(self, row: int, sub_request_id: str, index: int) -> Item:
        earlier = self.register.movement(row)
        item = self._success(earlier.transaction_id, earlier.creation_date, sub_request_id, index)
        if self.is_v2:
            item["originalRequestInformation"] = {
                "requestId": earlier.origin.request_id,
                "subRequestId": earlier.origin.sub_request_id,
            }
        return item


def _receipt_item(consent: Consent, key: str, sub_request_id: str, creation_date: str) -> Item:
    channel, recipient_type, recipient, status, source, consent_date, _, _ = consent
    item: Item = {
        "type": channel,
        "source": source,
        "recipient": recipient,
        "status": status,
        "consentDate": consent_date,
        "recipientType": recipient_type,
        key: sub_request_id,
        "creationDate": creation_date,
    }
    if not source:
        del item["source"]
    if not consent_date:
        del item["consentDate"]
    return item
