"""The process that submits to İYS: whose leases it takes, and which brands it serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.sinks.record.submission import Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOwner:
    """A process, and how long its unanswered submissions are left to it."""

    owner: str
    lease: timedelta
    call_within: timedelta
    """The timeout of a call; shorter than the lease."""
    account: str = ""
    address: str = ""
    """Its account and egress address: it passes over the brands of others."""

    @property
    def who(self) -> Mapping[str, str]:
        """Account and address, as parameters of SQL statements."""
        return {"account": self.account, "address": self.address}

    def sole(self, work: str) -> str:
        """Return the name under which one process does ``work`` for all of its account and address.

        The name has both, for otherwise a brand that only the other address serves would wait for
        ever.
        """
        return f"{work} {self.account} {self.address}"

    def may_send(self, submission: Submission, now: datetime) -> bool:
        """Return whether a call that starts now ends within the lease of the submission."""
        until = submission.lease_until
        return until is not None and now + self.call_within <= until
