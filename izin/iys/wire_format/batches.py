"""What İYS answers of a batch: that it took it in, and later what became of each item."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from izin.consent.making import maker
from izin.iys.errors import UnreadableError
from izin.iys.verdicts import Verdict, classify
from izin.iys.wire_format.consents import Receipt
from izin.iys.wire_format.json_reader import Reader, from_turkish, items_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """İYS took a batch in: "for processing", never "saved". Items are in the order sent."""

    request_id: str
    sub_request_ids: tuple[str, ...]

    @classmethod
    def read(cls, reader: Reader) -> Batch:
        """Return the batch in an answer."""
        return cls(
            request_id=reader.text("requestId"),
            sub_request_ids=tuple(map(_name, items_in(reader.raw("subRequests") or []))),
        )


def _name(value: object) -> str:
    """Return İYS's name for an item that it took; most are written as usual."""
    found = value.get("subRequestId") if isinstance(value, dict) else None
    return found if _is_usual(found) else Reader(value).text("subRequestId")


def _is_usual(text: object) -> TypeGuard[str]:
    """Whether a text needs no reading: it is one, and nothing stands around it."""
    return type(text) is str and text != "" and text == text.strip()


class ItemStatus(StrEnum):
    """How far İYS is with an item of a batch."""

    SUCCESS = "success"
    FAILURE = "failure"
    ENQUEUE = "enqueue"


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalRequest:
    """By V2, the request that saved the very same consent before; the receipt is that save's."""

    request_id: str | None
    sub_request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What became of one item of a batch. Match by ``sub_request_id``, not by ``index``.

    A success with ``original`` speaks of an *old* save: order it by its receipt's creation date.
    """

    sub_request_id: str
    index: int | None
    status: ItemStatus
    receipt: Receipt | None = None
    code: str | None = None
    message: str | None = None
    original: OriginalRequest | None = None

    @property
    def verdict(self) -> Verdict | None:
        """What the result means; None while İYS has not decided."""
        match self.status:
            case ItemStatus.SUCCESS:
                return Verdict.SUCCESS
            case ItemStatus.FAILURE:
                return Verdict.UNKNOWN if self.code is None else classify(self.code)
            case ItemStatus.ENQUEUE:
                return None

    @classmethod
    def read(cls, value: object) -> ItemResult:
        """Return the result in ``value``, an item of the answer."""
        found = _saved(value)
        if found is not None:
            return found
        reader = Reader(value)
        word = reader.text("status").lower()
        if word not in set(ItemStatus):
            raise UnreadableError("an item's status that is none of success, failure, enqueue")
        status = ItemStatus(word)
        error, original = reader.inner("error"), reader.inner("originalRequestInformation")
        return cls(
            sub_request_id=reader.text("subRequestId"),
            index=reader.whole_or_none("index"),
            status=status,
            receipt=Receipt.read(reader) if status is ItemStatus.SUCCESS else None,
            code=None if error is None else error.code(),
            message=None if error is None else error.text_or_none("message"),
            original=None
            if original is None
            else OriginalRequest(
                request_id=original.text_or_none("requestId"),
                sub_request_id=original.text_or_none("subRequestId"),
            ),
        )


_OF_A_SUCCESS = frozenset({"subRequestId", "index", "status", "transactionId", "creationDate"})
_AT_MOST = _OF_A_SUCCESS | {"requestId", "isAddConsentV2Service"}
_receipt = maker(Receipt)
_item_result = maker(ItemResult)


def _saved(value: object) -> ItemResult | None:
    """Return what a success says that is written as they usually are, with nothing to be told of
    it; None: it is to be read word by word, for five times as long.
    """
    if not isinstance(value, dict) or not _OF_A_SUCCESS <= value.keys() <= _AT_MOST:
        return None
    name, identity, date = value["subRequestId"], value["transactionId"], value["creationDate"]
    index = value["index"]
    if (
        value["status"] != "success"
        or type(index) is not int
        or not (_is_usual(name) and _is_usual(identity))
        or type(date) is not str
    ):
        return None
    return _item_result(
        sub_request_id=name,
        index=index,
        status=ItemStatus.SUCCESS,
        receipt=_receipt(transaction_id=identity, creation_date=from_turkish(date)),
    )
