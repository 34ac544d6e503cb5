"""The İYS simulator of the local stack: whether it is installed, and its account and brands.

The simulator is a distribution of its own (``simulator/`` in the repository). izin starts it as a
process and talks to its admin API; it never imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import httpx

from izin.consent.terms import TURKEY
from izin.local import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ("SIMULATOR", "SimulatedBrand", "add_account_and_brands", "check_simulator_installed")

SIMULATOR = "iys_simulator"
"""The simulator's import package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBrand:
    """A brand of the local stack, as the simulator and the ledger must both have it."""

    brand_code: int
    iys_code: int
    name: str
    activated_at: datetime | None
    """None: in first loading, which then has thirty days left."""
    push: bool
    """Whether İYS pushes what citizens do; otherwise it is pulled."""


def check_simulator_installed(package: str = SIMULATOR) -> None:
    """Raise LocalError with the remedy where the simulator is not installed."""
    if find_spec(package) is None:
        raise LocalError(
            "the İYS simulator is not installed; run `make setup`, or `pip install ./simulator`, "
            "in a checkout of izin"
        )


def add_account_and_brands(
    url: str, *, username: str, password: str, brands: Sequence[SimulatedBrand]
) -> None:
    """Create an API account for each service provider of ``brands`` and the brands themselves.

    Raises httpx.HTTPStatusError where the simulator at ``url`` refuses one.
    """
    with httpx.Client(base_url=f"{url}/__simulator__", trust_env=False) as admin:
        for iys_code in sorted({brand.iys_code for brand in brands}):
            account = {"username": username, "password": password, "iysCode": iys_code}
            admin.post("/accounts", json=account).raise_for_status()
        for brand in brands:
            body = {
                "brandCode": brand.brand_code,
                "iysCode": brand.iys_code,
                "name": brand.name,
                "activatedAt": brand.activated_at
                and brand.activated_at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S"),
            }
            admin.post("/brands", json=body).raise_for_status()
