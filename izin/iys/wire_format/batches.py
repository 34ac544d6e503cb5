"""İYS's responses about a batch: that it was accepted, and later the result of each item."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeGuard, assert_never

from izin.iys.errors import UnreadableError, Verdict, classify
from izin.iys.wire_format.consents import Receipt
from izin.iys.wire_format.json_reader import JsonReader, from_turkish, items_in


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedBatch:
    """A batch accepted for processing; nothing is saved yet. Items are in the order sent."""

    request_id: str
    sub_request_ids: tuple[str, ...]

    @classmethod
    def read(cls, reader: JsonReader) -> AcceptedBatch:
        """Return the accepted batch in a response."""
        return cls(
            request_id=reader.text("requestId"),
            sub_request_ids=tuple(map(_name, items_in(reader.raw("subRequests") or []))),
        )


def _name(value: object) -> str:
    """Return the ``subRequestId`` of an accepted item."""
    found = value.get("subRequestId") if isinstance(value, dict) else None
    return found if _is_clean(found) else JsonReader(value).text("subRequestId")


def _is_clean(text: object) -> TypeGuard[str]:
    """Whether ``text`` is a text that needs no stripping, so that ``JsonReader`` is not needed."""
    return type(text) is str and text != "" and text == text.strip()


class ItemStatus(StrEnum):
    """The status of an item of a batch."""

    SUCCESS = "success"
    FAILURE = "failure"
    ENQUEUE = "enqueue"


class BatchItemResult(NamedTuple):
    """The result of one item of a batch, matched by ``sub_request_id``: İYS's order may differ.

    A success that ``is_original`` names an earlier request that saved the identical consent (V2):
    its receipt is of that save, so order it by that.
    """

    sub_request_id: str
    status: ItemStatus
    receipt: Receipt | None = None
    code: str | None = None
    is_original: bool = False

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the result; None while İYS has not decided."""
        match self.status:
            case ItemStatus.SUCCESS:
                return Verdict.SUCCESS
            case ItemStatus.FAILURE:
                return Verdict.UNKNOWN if self.code is None else classify(self.code)
            case ItemStatus.ENQUEUE:
                return None
            case _:
                assert_never(self.status)

    @classmethod
    def read_all(cls, value: object) -> tuple[BatchItemResult, ...]:
        """Return the results in a response, those that can be read.

        One of which only the item can be read is a failure without a code: İYS is then queried.

        Raises:
            UnreadableError: ``value`` is not a list.
        """
        found = (cls._read_or_name(item) for item in items_in(value))
        return tuple(result for result in found if result is not None)

    @classmethod
    def _read_or_name(cls, value: object) -> BatchItemResult | None:
        try:
            return cls.read(value)
        except UnreadableError:
            name = value.get("subRequestId") if isinstance(value, dict) else None
            return cls(name, ItemStatus.FAILURE) if _is_clean(name) else None

    @classmethod
    def read(cls, value: object) -> BatchItemResult:
        """Return the result in ``value``, an item of the response."""
        found = _saved(value)
        if found is not None:
            return found
        reader = JsonReader(value)
        try:
            status = ItemStatus(reader.text("status").lower())
        except ValueError:
            raise UnreadableError("the status of an item is unknown") from None
        error = reader.object_or_none("error")
        return cls(
            sub_request_id=reader.text("subRequestId"),
            status=status,
            receipt=Receipt.read(reader) if status is ItemStatus.SUCCESS else None,
            code=None if error is None else error.code(),
            is_original=reader.object_or_none("originalRequestInformation") is not None,
        )


_SUCCESS_KEYS = frozenset({"subRequestId", "index", "status", "transactionId", "creationDate"})
_KNOWN_KEYS = _SUCCESS_KEYS | {"requestId", "isAddConsentV2Service"}


def _saved(value: object) -> BatchItemResult | None:
    """Return the result of a success in its usual shape; None: to be read by ``JsonReader``, which
    takes five times as long.
    """
    if not isinstance(value, dict) or not _SUCCESS_KEYS <= value.keys() <= _KNOWN_KEYS:
        return None
    name, identity, date = value["subRequestId"], value["transactionId"], value["creationDate"]
    if (
        value["status"] != "success"
        or not (_is_clean(name) and _is_clean(identity))
        or type(date) is not str
    ):
        return None
    return BatchItemResult(
        sub_request_id=name,
        status=ItemStatus.SUCCESS,
        receipt=Receipt(transaction_id=identity, creation_date=from_turkish(date)),
    )
