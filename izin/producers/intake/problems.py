"""What is wrong with a request to the intake, with place and remedy, and without its content."""

from collections.abc import Mapping, Sequence
from typing import Any

from izin.consent.errors import OurError
from izin.consent.violations import Violation


class IntakeDisabledError(OurError):
    """No token is configured, so nobody may post."""


def as_json(
    violations: Sequence[Violation], place: str, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the violations of the record at ``place``, each with a JSON pointer; ``names`` are the
    sender's names of the fields.
    """
    return [
        {
            "pointer": place + _step(names.get(one.field, one.field)),
            "field": one.field,
            "code": one.code,
            "reason": one.reason,
            "reason_tr": one.reason_tr,
        }
        for one in violations
    ]


def _step(name: str) -> str:
    """Return ``name`` as a step of a JSON pointer (RFC 6901); empty for an empty name."""
    return f"/{name.replace('~', '~0').replace('/', '~1')}" if name else ""
