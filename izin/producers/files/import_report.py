"""The result of an import, as its caller prints it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(slots=True, kw_only=True)
class Tally:
    """What an import has counted so far; see :class:`ImportReport`."""

    rows: int = 0
    published: int = 0
    opt_outs: int = 0
    not_registrable: int = 0
    past_term: int = 0
    reversals: int = 0
    repeated_headers: int = 0
    without_recipient: int = 0
    silent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By outcome."""
    reasons: Counter[str] = field(default_factory=Counter)
    """By code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The result of an import."""

    path: Path
    digest: str
    refused_opt_outs: int
    """Opt-outs (RET) among the refused rows: recipients who said no, and of whom nobody knows."""
    refused_unclear: int
    """Refused rows whose status cannot be read: opt-outs may be among them."""
    encoding: str
    delimiter: str
    """Nothing for a workbook."""
    header_line: int
    """The line, or row, of the header; those above it are titles."""
    hidden_sheets: tuple[str, ...] = ()
    """Hidden sheets of the workbook that have rows, and were left out."""
    repeated_headers: int
    """Lines that are the header once more; no rows."""
    without_recipient: int
    """Opt-outs of one channel in rows that have no address for it: they concern nobody. Only where
    the file has a column a channel.
    """
    silent: int = 0
    """Rows that say nothing of any channel. Only where the file has a column a channel."""
    rows: int
    published: int
    """Events acknowledged by the broker; in a dry run, those to be published."""
    opt_outs: int
    """The opt-outs (RET) among them."""
    not_registrable: int
    """Opt-outs that were published and reported: İYS would not register them as they stand."""
    past_term: int
    """Opt-ins (ONAY) published after their term: void unless İYS holds them already."""
    refused: int
    """Rows that were not published."""
    reversals: int = 0
    """Opt-ins (ONAY) published though they reverse an opt-out (RET) that stood: a person has given
    them back."""
    refused_reversals: int = 0
    """Opt-ins that were not published because they would reverse one."""
    reversals_path: Path | None = None
    """The list of those, to be looked through and given back."""
    reasons: Mapping[str, int]
    """How often each code was reported."""
    report_path: Path | None
    """The report file; None if there was nothing to report."""
    dry_run: bool
    seconds: float
    resumed_after: int = 0
    """The line or row up to which an earlier run of this import had everything acknowledged, or
    every opt-out, which go first."""
    restarted_because: str | None = None
    """Why an import that had stopped, or ended, was started over: ``file-changed``,
    ``options-changed`` or ``report-lost``."""
    finished_before: datetime | None = None
    """When this file was imported already: then nothing was published now, and all counts are of
    that import."""

    @property
    def lost_opt_outs(self) -> bool:
        """Whether an opt-out was refused, or may have been."""
        return bool(self.refused_opt_outs or self.refused_unclear)
