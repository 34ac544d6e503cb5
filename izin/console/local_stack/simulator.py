"""Give the simulator of İYS the accounts and brands of a local stack."""

from collections.abc import Sequence

import httpx

from izin.consent.clocks import TURKEY
from izin.console.local_stack.settings import ExampleBrand, StackCredentials


def register(url: str, brands: Sequence[ExampleBrand], credentials: StackCredentials) -> None:
    """Register ``brands``, and an account for each of their providers, at the simulator."""
    with httpx.Client(base_url=f"{url}/__simulator__", trust_env=False) as admin:
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
