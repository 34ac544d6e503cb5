"""The simulator of İYS in a local stack: whether it is installed, its accounts and its brands.

It is a distribution of its own (``simulator/`` in the repository): it is started as a process and
configured through its admin API, never imported.
"""

from collections.abc import Sequence
from importlib.util import find_spec

import httpx

from izin.consent.due_dates import TURKEY
from izin.console.local_stack.settings import ExampleBrand, StackCredentials
from izin.local import LocalError

SIMULATOR = "iys_simulator"
"""The simulator's import package."""


def check_installed(package: str = SIMULATOR) -> None:
    """Raise LocalError with the remedy where the simulator is not installed."""
    if find_spec(package) is None:
        raise LocalError(
            "the İYS simulator is not installed; run `make setup`, or `pip install ./simulator`, "
            "in a checkout of izin"
        )


def register(url: str, brands: Sequence[ExampleBrand], credentials: StackCredentials) -> None:
    """Register ``brands``, and an account for each of their providers, at the simulator.

    One that has them from an earlier run is left alone: a person may have changed them.
    """
    with httpx.Client(base_url=f"{url}/__simulator__", trust_env=False) as admin:
        if admin.get("/health").raise_for_status().json()["brands"] >= len(brands):
            return
        for iys_code in sorted({one.iys_code for one in brands}):
            account = {
                "username": credentials.username,
                "password": credentials.password,
                "iysCode": iys_code,
            }
            admin.post("/accounts", json=account).raise_for_status()
        for brand in brands:
            document = {
                "brandCode": brand.brand_code,
                "iysCode": brand.iys_code,
                "name": brand.name,
                "activatedAt": brand.activated_at
                and brand.activated_at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S"),
            }
            admin.post("/brands", json=document).raise_for_status()
