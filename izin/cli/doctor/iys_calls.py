"""``izin doctor --iys``: whether an address answers as İYS's description says, as far as izin
relies on it, by the calls that only read.

Each answer is read by the client itself, so what is compared is what izin relies on, and nothing is
kept beside it. The recipient that is asked about is made up, at a domain that belongs to nobody.
Calls go through the limits that all processes share; those of the day and of the hour count them.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from izin.cli.doctor.finding import DoctorFinding, ok, skipped, wrong
from izin.cli.terminal.iys_session import calling_iys
from izin.consent import TURKEY, Channel, RecipientType
from izin.iys.client import IysClient
from izin.iys.errors import (
    CallError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
    Verdict,
)
from izin.iys.wire_format import BrandPath, GrantedBrands, MovementPage, Stream, Watch
from izin.ledger import brands as registry
from izin.ledger.db import Ledger
from izin.runtime.settings import IysSettings

CHECK: Final = "iys"
_NOBODY: Final = "izin-doctor@example.com"
"""Whom İYS is asked about: an address under a domain that is reserved for examples."""
_DAY: Final = timedelta(days=1)


async def find_differences(
    ledger: Ledger, brand: BrandPath | None, *, now: datetime
) -> list[DoctorFinding]:
    """Return how İYS answers each reading call about ``brand``; None: the first one of ours.

    No call writes at İYS, but the one that gets a token where none is valid.
    """
    settings = IysSettings()
    ours = {None, settings.username}
    found = next((one for one in await registry.every(ledger) if one.account in ours), None)
    if brand is None and found is not None:
        brand = found.path
    if brand is None:
        return [skipped(CHECK, "no brand of the account is registered: name --brand, --iys-code")]
    findings = []
    async with calling_iys(ledger, settings) as (client, _pacer):
        for name, call in _calls(client, brand, settings.integrator_code, now).items():
            finding, goes_on = await _finding(client, name, call)
            findings.append(finding)
            if not goes_on:
                break
    return findings


def _calls(
    client: IysClient, brand: BrandPath, integrator_code: int | None, now: datetime
) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """Return the calls that only read, by name."""
    about = (brand, Channel.EPOSTA, RecipientType.BIREYSEL)
    day = (now.astimezone(TURKEY) - _DAY).date()
    listed: dict[str, Callable[[], Awaitable[object]]] = {
        "brands": lambda: client.brands(brand.iys_code),
        "subscription": lambda: client.subscription(brand.iys_code),
        "push registrations": lambda: client.push_registrations(brand),
        "movements of citizens": lambda: client.changes(brand, Stream.IYS, limit=1),
        "movements of providers": lambda: client.changes(brand, Stream.HS, limit=1),
        "status": lambda: client.status(*about, _NOBODY),
        "statuses": lambda: client.statuses(*about, [_NOBODY]),
        "history": lambda: client.register.history(*about, _NOBODY),
        "counts of a day": lambda: client.reports.counts(brand, day, RecipientType.BIREYSEL),
        "hash of a day": lambda: client.reports.agreement(brand, day),
    }
    if integrator_code is None:
        return listed
    partner, code = client.partner, integrator_code
    return {
        "granted brands": lambda: partner.brands(code),
        "granted brands of a provider": lambda: partner.brands(code, brand.iys_code),
        "subscription of the partner": lambda: partner.subscription(code),
        **listed,
    }


async def _finding(
    client: IysClient, name: str, call: Callable[[], Awaitable[object]]
) -> tuple[DoctorFinding, bool]:
    """Return what a call shows, and whether others may be made after it."""
    watch = Watch()
    client.look = lambda _name, answer: watch.over(answer)
    try:
        found = await call()
    except (UnauthenticatedError, TokenLimitError) as error:
        return wrong(CHECK, f"{name}: no token ({error}); the others were not asked"), False
    except UnreadableError as error:
        return wrong(CHECK, f"{name}: differs from what izin reads: {error}"), True
    except CallError as error:
        return _of_error(name, error), True
    differing = list(_unreadable(found))
    also = f"; not read by izin: {', '.join(watch.unread)}" if watch.unread else ""
    if differing:
        return wrong(CHECK, f"{name}: differs from what izin reads: {differing[0]}{also}"), True
    empty = "" if watch.read else "; nothing is there to compare"
    return ok(CHECK, f"{name}: as izin reads it{empty}{also}"), True


def _of_error(name: str, error: CallError) -> DoctorFinding:
    """Return what a refusal shows: a right or a subscription that is missing is no difference, and
    a code or a status that izin does not know is one.
    """
    if error.is_transient:
        return wrong(CHECK, f"{name}: not answered ({error}); try it again")
    if error.verdict is Verdict.UNKNOWN:
        return wrong(CHECK, f"{name}: differs, for izin does not know this answer: {error}")
    return skipped(CHECK, f"{name}: İYS refuses it ({error})")


def _unreadable(found: object) -> Iterator[str]:
    """Yield why items of an answer could not be read."""
    if isinstance(found, MovementPage | GrantedBrands):
        yield from (one.error for one in found.unreadable)
