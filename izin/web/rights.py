"""What each role may do in the console. Each route names the right that it needs."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from izin.ledger.console.accounts import AccountRole


class Permit(StrEnum):
    """What may be done."""

    SEE = "see"
    """Every screen, with recipients masked."""
    UNMASK = "unmask"
    """Recipients as they are: a look, which the history has."""
    IMPORT = "import"
    """Publish the consents and opt-outs of a file."""
    DECIDE = "decide"
    """What waits for a person: parked, refused, held back, suspended."""
    ONBOARD = "onboard"
    """Customers, brands and their applications."""
    DELIVER = "deliver"
    """Subscribers: pause, resume, resend, test."""
    COMPLAIN = "complain"
    """Complaints and their evidence."""
    ERASE = "erase"
    """What is known of a person (6698 m.7)."""


_ALL = frozenset(Permit)
RIGHTS: Mapping[AccountRole, frozenset[Permit]] = MappingProxyType(
    {
        AccountRole.READER: frozenset({Permit.SEE}),
        AccountRole.OPERATOR: _ALL - {Permit.COMPLAIN, Permit.ERASE},
        AccountRole.COMPLIANCE: frozenset(
            {
                Permit.SEE,
                Permit.UNMASK,
                Permit.DECIDE,
                Permit.COMPLAIN,
                Permit.ERASE,
            }
        ),
        AccountRole.ADMIN: _ALL,
    }
)
