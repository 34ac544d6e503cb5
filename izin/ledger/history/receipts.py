"""Receipts of the gate in the history: what it answered a sender, for whom and for which message.

The answer for a recipient is an entry of its key. What was asked as a whole, a list or the
recipients of one request, is an entry of the receipt's own key, which names nobody, so that it is
found by its id. Each has a source of its own: a receipt that is read again is recorded once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from izin.consent import ConsentKey
from izin.ledger.history.append import HistoryEntry

KIND = "receipt"
_ASKED = ("message_class", "campaign", "retailer_code", "asked_by", "as_of")
"""What was asked, the same for every recipient of a request."""


def receipt_key(receipt_id: str) -> str:
    """Return the key of the entry of a whole request."""
    return f"receipt/{receipt_id}"


def entries_of(receipt: Mapping[str, Any]) -> Iterator[HistoryEntry]:
    """Yield the entries of ``receipt``, an Avro GateReceipt, of the customer that it names.

    Raises:
        UnreadableKeyError: it names a recipient, but no key.
    """
    yield _entry(receipt, receipt_key(receipt["receipt_id"]), _request(receipt))
    if receipt["index"] is not None:
        yield _entry(receipt, *_answer(receipt))


def _entry(receipt: Mapping[str, Any], key: str, data: Mapping[str, Any]) -> HistoryEntry:
    place = "" if "index" not in data else f"/{data['index']}"
    return HistoryEntry(
        kind=KIND,
        customer_id=receipt["customer_id"],
        key=key,
        event_id=None,
        status=None,
        source=f"{receipt_key(receipt['receipt_id'])}{place}",
        occurred_at=receipt["asked_at"],
        data={**{name: receipt[name] for name in _ASKED}, **data},
        may_repeat=True,
    )


def _request(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a whole request.

    What could lead to one recipient stays with its answer, which can be erased: the sender's basis,
    and the digest, for whoever guesses the only recipient could test it.
    """
    is_list = receipt["index"] is None
    is_of_many = is_list and receipt["recipients"] > 1
    names = ("brand_code", "type", "recipient_type", "recipients", "reasons")
    return {
        **{name: receipt[name] for name in names},
        "receipt": "list" if is_list else "decision",
        "basis": receipt["basis"] if is_of_many else None,
        "digest": receipt["digest"] if is_of_many else None,
    }


def _answer(receipt: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the key and the content of the answer for one recipient; one without a valid address
    has no key, and what it has beside that of the request could not be erased.
    """
    data = {name: receipt[name] for name in ("index", "may_send", "reason", "basis")}
    if receipt["recipient"] is None:
        return receipt_key(receipt["receipt_id"]), {**data, "basis": None}
    parts = (receipt[name] for name in ("brand_code", "type", "recipient_type", "recipient"))
    key = ConsentKey.parse("/".join(map(str, parts)))
    return str(key), {**data, "receipt_id": receipt["receipt_id"]}
