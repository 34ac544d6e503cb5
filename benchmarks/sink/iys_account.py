"""The account of the benches at İYS's twin, and its brands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.sink.fixture import BRANDS

if TYPE_CHECKING:
    from collections.abc import Callable

WHO, SECRET = "ada@example.com", "fake"


def register(order: Callable[..., None]) -> None:
    """Give the twin the account and its brands, by ``order`` of its admin's interface."""
    order("accounts", username=WHO, password=SECRET, iysCode=BRANDS[0])
    for code in BRANDS:
        order(
            "brands",
            brandCode=code,
            iysCode=BRANDS[0],
            name="Örnek",
            activatedAt="2020-01-01 00:00:00",
        )
