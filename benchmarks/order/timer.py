"""Time processes over a dataset once a tenth of it is done, so that start-up does not count."""

import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.order.verify_output import OutputDigest
from benchmarks.process_usage import cpu_seconds, peak_megabytes
from izin.consent import OurError
from izin.local.processes import Child

_WARM = 0.1
"""The share of the dataset after which the clock starts."""

_HALF = 0.5
_INTERVAL = 0.05


class TrialError(OurError):
    """A contender did not finish; the message says why, with the end of its log."""


def printed_by(
    command: Sequence[str],
    *,
    within: float,
    folder: Path | None = None,
    fine: Collection[int] = (0,),
) -> str:
    """Run a command of our own; return what it prints.

    Raises:
        TrialError: it took over ``within`` seconds, or its exit code is none of ``fine``.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own command
            command, cwd=folder, capture_output=True, text=True, timeout=within, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TrialError(f"{' '.join(command)} took over {within} s") from error
    if done.returncode not in fine:
        said = done.stderr.strip()[-2000:]
        raise TrialError(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One trial of one contender."""

    events_per_second: float
    cpu_us: float
    """CPU of the contender's processes, µs an event."""
    peak_mb: float
    """Its peak resident memory."""
    output: OutputDigest | None = None
    """What it wrote, where that was read back."""


def time_trial(
    children: Sequence[Child],
    poll: Callable[[], tuple[bool, float]],
    *,
    events: int,
    limit: timedelta,
    what: str,
) -> TrialResult:
    """Time ``children``, which were started, over ``events``.

    ``poll`` returns whether the trial is over, and the share of ``what`` that exists. Raises
    TrialError if a process ends or they take longer than ``limit``.
    """
    until = time.monotonic() + limit.total_seconds()
    began: tuple[float, float, float] | None = None
    before = time.monotonic(), 0.0, 0.0
    while True:
        for child in children:
            if not child.is_alive:
                raise TrialError(f"it ended with {child.exit_code}: {child.log_tail(3)}")
        # Before the poll, which may take a moment once the end is near.
        now = time.monotonic()
        used = sum(cpu_seconds(child.pid or 0) for child in children)
        is_over, share = poll()
        if began is None and share >= _WARM:
            # Progress between two polls is timed from the first of them.
            began = before if share > _HALF else (now, used, share)
        if is_over and began is not None:
            break
        if now > until:
            raise TrialError(f"{share:.0%} of its {what} after {limit}: {children[0].log_tail(3)}")
        before = now, used, share
        time.sleep(_INTERVAL)  # to poll without a pause would use the CPU that is measured
    started, used_before, share_before = began
    counted = events * (1 - share_before)
    return TrialResult(
        events_per_second=counted / (now - started),
        cpu_us=(used - used_before) / counted * 1e6,
        peak_mb=sum(peak_megabytes(child.pid or 0) for child in children),
    )
