"""What each role may do in the console. Each route names the right that it needs."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from izin.ledger.console.accounts import Role


class Right(StrEnum):
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


_ALL = frozenset(Right)
RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.READER: frozenset({Right.SEE}),
        Role.OPERATOR: _ALL - {Right.COMPLAIN, Right.ERASE},
        Role.COMPLIANCE: frozenset(
            {Right.SEE, Right.UNMASK, Right.DECIDE, Right.COMPLAIN, Right.ERASE}
        ),
        Role.ADMIN: _ALL,
    }
)
