"""Isolate the recipients for whom İYS refuses a query of many."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from izin.iys.errors import CallError


class Queried(Protocol):
    """Whatever is queried by its recipient."""

    @property
    def recipient(self) -> str:
        """The phone number or e-mail address."""


Entry = TypeVar("Entry", bound=Queried)


def parts(entries: Sequence[Entry], error: CallError) -> list[Sequence[Entry]]:
    """Return the parts to query again: each recipient that İYS names alone, else halves."""
    named = {one.value for one in error.refusals if isinstance(one.value, str)}
    at_fault = [entry for entry in entries if entry.recipient in named]
    rest = [entry for entry in entries if entry.recipient not in named]
    if at_fault and rest:
        return [*([entry] for entry in at_fault), rest]
    middle = (len(entries) + 1) // 2
    return [entries[:middle], entries[middle:]]
