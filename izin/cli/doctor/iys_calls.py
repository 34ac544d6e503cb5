"""``izin doctor --iys``: whether an address answers as İYS's description says, as far as izin
relies on it, by the calls that only read.

Each answer is read by the client itself, so what is compared is what izin relies on, and nothing is
kept beside it. The recipient that is asked about is made up, at a domain that belongs to nobody.
Calls go through the limits that all processes share; those of the day and of the hour count them.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from izin.cli.doctor.finding import DoctorFinding, ok, skipped, wrong
from izin.cli.terminal.iys_session import calling_iys
from izin.consent import TURKEY, Channel, RecipientType
from izin.iys.client import IysClient
from izin.iys.errors import CallError, UnreadableError, Verdict
from izin.iys.wire_format import BrandPath, Stream
from izin.ledger import brands as registry
from izin.ledger.db import Ledger
from izin.runtime.settings import IysSettings

CHECK: Final = "calls"
_NOBODY: Final = "izin-doctor@example.com"
"""Whom İYS is asked about: an address under a domain that is reserved for examples."""
_Call = Callable[[], Awaitable[object]]


async def find_differences(
    ledger: Ledger, brand: BrandPath | None, *, now: datetime
) -> list[DoctorFinding]:
    """Return how İYS answers each reading call about ``brand``; None: the first one of ours.

    No call writes at İYS, but the one that gets a token where none is valid.
    """
    settings = IysSettings()
    ours = {None, settings.username}
    known = [one.path for one in await registry.every(ledger) if one.account in ours]
    about = [brand] if brand is not None else known[:1]
    if not about:
        return [skipped(CHECK, "no brand of the account is registered: name --brand, --iys-code")]
    async with calling_iys(ledger, settings) as (client, _pacer):
        calls = _calls(client, about[0], settings.integrator_code, now)
        return [await _finding(name, call) for name, call in calls.items()]


def _calls(
    client: IysClient, brand: BrandPath, integrator_code: int | None, now: datetime
) -> Mapping[str, _Call]:
    """Return the calls that only read, by name."""
    about = (brand, Channel.EPOSTA, RecipientType.BIREYSEL)
    yesterday = (now.astimezone(TURKEY) - timedelta(days=1)).date()
    partner, code = client.partner, integrator_code or 0
    of_partner: dict[str, _Call] = {
        "granted brands": lambda: partner.brands(code),
        "granted brands of a provider": lambda: partner.brands(code, brand.iys_code),
        "subscription of the partner": lambda: partner.subscription(code),
    }
    return (of_partner if code else {}) | {
        "brands": lambda: client.brands(brand.iys_code),
        "subscription": lambda: client.subscription(brand.iys_code),
        "push registrations": lambda: client.push_registrations(brand),
        "movements of citizens": lambda: client.changes(brand, Stream.IYS, limit=1),
        "movements of providers": lambda: client.changes(brand, Stream.HS, limit=1),
        "status": lambda: client.status(*about, _NOBODY),
        "statuses": lambda: client.statuses(*about, [_NOBODY]),
        "history": lambda: client.register.history(*about, _NOBODY),
        "counts of a day": lambda: client.reports.counts(brand, yesterday, about[2]),
        "hash of a day": lambda: client.reports.agreement(brand, yesterday),
    }


async def _finding(name: str, call: _Call) -> DoctorFinding:
    """Return what a call shows: a right or a subscription that is missing is no difference; a code
    or a status that izin does not know is one.
    """
    try:
        found = await call()
    except CallError as error:
        is_known = error.verdict is not Verdict.UNKNOWN and not error.is_transient
        what = "differs from what izin relies on: " if isinstance(error, UnreadableError) else ""
        return (skipped if is_known else wrong)(CHECK, f"{name}: {what}{error}")
    # Of lists that are read item by item.
    for item in getattr(found, "unreadable", ()):
        return wrong(CHECK, f"{name}: differs from what izin relies on: {item.error}")
    return ok(CHECK, f"{name}: as izin relies on it")
