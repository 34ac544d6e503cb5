"""How batches are answered: the 202 with its sub-requests, and the results.

İYS spells the id of an item `subRequestId` on success and failure and `subrequestId` while it
waits; its schema has only the latter (a switch).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from iys_simulator.clock import wire_text
from iys_simulator.errors.responses import error, refused
from iys_simulator.rules.fields import Consent
from iys_simulator.rules.register_rules import refusal_text
from iys_simulator.settings import Settings
from iys_simulator.store.batches import Batch, Outcomes
from iys_simulator.store.movements import sub_request_ids, transaction_id
from iys_simulator.store.register import Register

_REQUEST_ID_LENGTH = 36
_SPELLINGS = {
    "mixed": ("subRequestId", "subrequestId"),
    "subRequestId": ("subRequestId", "subRequestId"),
    "subrequestId": ("subrequestId", "subrequestId"),
}

Answer = dict[str, object]


def check_request_id(request_id: str) -> None:
    """Raise H198 (too long), H199 (letters only) or H400 (digits only)."""
    if len(request_id) > _REQUEST_ID_LENGTH:
        raise refused("H198", location=["requestId"], value=request_id)
    if request_id.isalpha():
        raise refused("H199", location=["requestId"], value=request_id)
    if request_id.isdigit():
        raise refused("H400", location=["requestId"], value=request_id)


def receipt(batch: Batch, settings: Settings) -> Answer:
    """Tell what the 202 says: the requestId and a sub-request for each item, in order."""
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


def results(
    batch: Batch | None, register: Register, now: float, *, is_v2: bool, settings: Settings
) -> list[Answer]:
    """Give the answer of a result query at `now`; empty for unknown and too recent batches."""
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
    told = _Telling(batch=batch, key=key, register=register, settings=settings, is_v2=is_v2)
    return told.answers(batch.outcomes, ids, first_index)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Telling:
    """How the items of one processed batch are told."""

    batch: Batch
    key: str
    register: Register
    settings: Settings
    is_v2: bool

    def answers(self, outcomes: Outcomes, ids: Sequence[str], first_index: int) -> list[Answer]:
        batch = self.batch
        count = batch.size - len(outcomes.refused) - len(outcomes.resent)
        saved = iter(self.register.saved_items(outcomes.first, count))
        second = int(batch.due_at)
        creation_date = wire_text(second)
        answers: list[Answer] = []
        for place, sub_request_id in enumerate(ids):
            index = place + first_index
            if place in outcomes.refused:
                answers.append(self._failure(outcomes.refused[place], sub_request_id, index))
            elif place in outcomes.resent:
                answers.append(self._resent(outcomes.resent[place], sub_request_id, index))
            else:
                channel, recipient = next(saved)
                made = transaction_id(batch.brand_code, channel, recipient, second)
                answers.append(self._success(made, creation_date, sub_request_id, index))
        return answers

    def _failure(self, refusal: str, sub_request_id: str, index: int) -> Answer:
        code, _, status = refusal.partition(" ")
        told = error(code, message=refusal_text(code, status, in_batch=True))
        return {self.key: sub_request_id, "index": index, "status": "failure", "error": told}

    def _success(self, made: str, creation_date: str, sub_request_id: str, index: int) -> Answer:
        answer: Answer = {
            "requestId": self.batch.request_id,
            self.key: sub_request_id,
            "index": index,
            "transactionId": made,
            "status": "success",
            "creationDate": creation_date,
        }
        if self.is_v2:
            as_text = self.settings.v2_flag == "text"
            answer["isAddConsentV2Service"] = "true" if as_text else True
        return answer

    def _resent(self, row: int, sub_request_id: str, index: int) -> Answer:
        earlier = self.register.movement(row)
        answer = self._success(earlier.transaction_id, earlier.creation_date, sub_request_id, index)
        if self.is_v2:
            answer["originalRequestInformation"] = {
                "requestId": earlier.origin.request_id,
                "subRequestId": earlier.origin.sub_request_id,
            }
        return answer


def _receipt_item(consent: Consent, key: str, sub_request_id: str, creation_date: str) -> Answer:
    channel, recipient_type, recipient, status, source, consent_date, _, _ = consent
    item: Answer = {
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
