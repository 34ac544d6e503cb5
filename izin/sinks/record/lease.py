"""Who tells İYS: what leases carry, and whose brands are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.sinks.record.submission import Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOwner:
    """Who tells, and for how long nobody else takes up what it left unanswered."""

    owner: str
    lease: timedelta
    call_within: timedelta
    """How long a call may take; shorter than the lease."""
    account: str = ""
    address: str = ""
    """By which account and from which address: brands of others are passed over."""

    @property
    def who(self) -> Mapping[str, str]:
        """Account and address, as statements take them."""
        return {"account": self.account, "address": self.address}

    def sole(self, work: str) -> str:
        """Return under which name one process does ``work`` for all of its account and address.

        By both: a brand that only the other address may speak for would else wait for ever.
        """
        return f"{work} {self.account} {self.address}"

    def may_send(self, submission: Submission, now: datetime) -> bool:
        """Return whether a call that leaves now ends while the submission is still ours."""
        until = submission.lease_until
        return until is not None and now + self.call_within <= until
