"""Check a stored daily file again, as the sink worker has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cryptography.x509 import Certificate

from izin.consent.errors import SourceError
from izin.console.terminal.output import turkish
from izin.runtime.masking import mask_text
from izin.schemas import timestamps
from izin.schemas.timestamps import Timestamp, TimestampState
from izin.sinks.inbound.daily.comparison import FileCheck
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.db.connection import Ledger

_SHOWN = 100
"""Of so many differing lines a command prints the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the checks of a file found."""

    file: DailyFile
    hash_value: str
    """The SHA-384 of the file as it is stored, in hex."""
    own_hash: str
    only_at_iys: int
    only_here: int
    timestamp: Timestamp
    differences: Sequence[tuple[str, str]]
    """The first lines that only one side has, by side, with masked recipients."""

    @property
    def is_whole(self) -> bool:
        """Whether the stored file is the one that İYS has hashed."""
        return self.hash_value == self.file.hash_value

    @property
    def is_wrong(self) -> bool:
        """Whether a check failed. Of a file with erased lines only hash and timestamp are left."""
        is_broken = not self.is_whole and not self.file.redacted
        differs = bool(self.only_at_iys or self.only_here)
        return is_broken or differs or self.timestamp.state is TimestampState.WRONG

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield each check with its result and what is known."""
        erased = f"{self.file.redacted} lines were erased; İYS's hash is of the file before"
        integrity = "erased" if self.file.redacted else "ok" if self.is_whole else "wrong"
        yield "integrity", integrity, erased if self.file.redacted else self.hash_value
        differs = self.only_at_iys or self.only_here
        yield (
            "agreement",
            "differs" if differs else "ok",
            f"{self.only_at_iys} lines only at İYS, {self.only_here} only here"
            if differs
            else self.own_hash,
        )
        timestamp = self.timestamp
        yield "time stamp", str(timestamp.state), timestamp.error or turkish(timestamp.at)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "brand_code": self.file.brand_code,
            "day": str(self.file.day),
            "is_whole": self.is_whole,
            "erased": self.file.redacted,
            "hash": self.file.hash_value,
            "stored_hash": self.hash_value,
            "own_hash": self.own_hash,
            "only_at_iys": self.only_at_iys,
            "only_here": self.only_here,
            "timestamp": str(self.timestamp.state),
            "timestamped_at": self.timestamp.at,
            "timestamp_error": self.timestamp.error,
            "differences": [{"side": side, "line": line} for side, line in self.differences],
        }


async def check(
    ledger: Ledger, file: DailyFile, roots: Sequence[Certificate], *, empty_date: str
) -> Findings:
    """Return what the checks of a stored file find.

    Raises:
        SourceError: its lines are not in the ledger.
    """
    if file.lines is None or file.hash_value is None:
        raise SourceError(f"the file of {file.day} is not here: it is {file.state}")
    with FileCheck(ledger, file, empty_date=empty_date) as both:
        compared = await both.compare()
        return Findings(
            file=file,
            hash_value=both.hash_value(),
            own_hash=compared.own_hash,
            only_at_iys=compared.only_at_iys,
            only_here=compared.only_here,
            timestamp=timestamps.verify(file.timestamp_reply, file.hash_value, roots),
            differences=[
                (str(one.side), mask_text(one.line.decode("utf-8", "replace")))
                for one in islice(both.differences(), _SHOWN)
            ],
        )
