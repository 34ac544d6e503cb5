"""İYS's message packages (*İleti paketi*): how many addresses a provider may register.

A package counts the addresses of all brands of a provider. Beyond its limit İYS refuses further
addresses (H525), unless the subscription allows it (``consentLimitExceed``). İYS's documentation
names two packages; the others are from a public price list of a business partner, and may change.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_IYS = "İYS API belgesi 3.2.0"
_PRICE_LIST = "bir iş ortağının ilan ettiği fiyat listesi; İYS'den teyit edilmeli"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePackage:
    """A package, and how many addresses it is for."""

    name: str
    up_to: int | None
    """None: more than any other."""
    source: str
    """In Turkish, as it is printed."""


PACKAGES = (
    MessagePackage(name="İleti-5", up_to=5_000, source=_IYS),
    MessagePackage(name="İleti-25", up_to=25_000, source=_PRICE_LIST),
    MessagePackage(name="İleti-75", up_to=75_000, source=_PRICE_LIST),
    MessagePackage(name="İleti-150", up_to=150_000, source=_PRICE_LIST),
    MessagePackage(name="İleti-250", up_to=250_000, source=_PRICE_LIST),
    MessagePackage(name="İleti+", up_to=None, source=_IYS),
)
"""Each with its source."""


def with_given(given: Iterable[MessagePackage]) -> tuple[MessagePackage, ...]:
    """Return the packages, those of the same name replaced by ``given`` ones."""
    found = {one.name: one for one in (*PACKAGES, *given)}
    return tuple(found.values())


def package_for(addresses: int, packages: Iterable[MessagePackage]) -> MessagePackage | None:
    """Return the smallest package for so many addresses; None: there is none."""
    fitting = [one for one in packages if one.up_to is None or addresses <= one.up_to]
    return min(fitting, key=lambda one: (one.up_to is None, one.up_to or 0), default=None)
