"""What is wrong with a request to the intake, with place and remedy, and without its content."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from izin.consent.violations import Violation
from izin.runtime.http_server.problems import ProblemText, problem

RETRY_AFTER_SECONDS = 5
NOT_ACKNOWLEDGED = ProblemText(
    503,
    "Try again",
    "Kafka does not acknowledge; send this again, with the same Idempotency-Key",
)

_REMEDIES = {"H112": ' (consentDate), or say "dateBasis": "received" if it is now'}
"""What only this way in has, by the code of a violation."""


def refusal(
    *, records: int, published: int, postponed: int, forbidden: int, members: Mapping[str, Any]
) -> Response:
    """Return the response to a request of which not all records were published.

    Where some can be accepted later, all are sent again then, and the others are refused again.
    """
    if postponed:
        return problem(
            503,
            "Try again",
            f"{postponed} of {records} records cannot be accepted now, for the instant of their "
            "first receipt is not known; send all again, with the same Idempotency-Key",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            members=members,
        )
    if forbidden:
        return problem(
            403,
            "Records outside the key",
            f"{forbidden} of {records} records are outside this API key, {published} were "
            "published; use a key for what violations names, and send those again",
            members=members,
        )
    return problem(
        422,
        "Records refused",
        f"{records - published} of {records} records were refused, {published} published; correct "
        "what violations names and send those again",
        members=members,
    )


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
            "reason": one.reason + _REMEDIES.get(one.code, ""),
            "reason_tr": one.reason_tr,
        }
        for one in violations
    ]


def _step(name: str) -> str:
    """Return ``name`` as a step of a JSON pointer (RFC 6901); empty for an empty name."""
    return f"/{name.replace('~', '~0').replace('/', '~1')}" if name else ""
