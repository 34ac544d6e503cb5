"""Consents held by a state, which itself knows only packed ones."""

from collections.abc import Mapping

from izin.consent.model import Consent
from izin.streams.state.packing import Packing
from izin.streams.state.state import State

TELLING = Packing(most=0)
"""Tells all words with each consent, so that any other packing reads what it packs."""


def hold(state: State, rows: Mapping[bytes, Consent | None], position: int) -> None:
    """Hold ``rows``, packed as ``state`` packs."""
    pack = state.packing.pack
    state.hold({key: None if row is None else pack(row) for key, row in rows.items()}, position)
