"""The process that submits to İYS: whose leases it takes, and which brands it serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOwner:
    """A process, and how long its unanswered submissions are left to it."""

    owner: str
    lease: timedelta
    call_within: timedelta
    """How long a call may be on its way; shorter than the lease."""
    account: str = ""
    address: str = ""
    """Its account and egress address: it passes over the brands of others."""

    @property
    def who(self) -> Mapping[str, str]:
        """Account and address, as parameters of SQL statements."""
        return {"account": self.account, "address": self.address}

    def exclusive(self, work: str) -> str:
        """Return the name under which one process does ``work`` for all of its account and address.

        The name has both, for otherwise a brand that only the other address serves would wait for
        ever.
        """
        return f"{work} {self.account} {self.address}"
