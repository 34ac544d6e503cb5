"""What an error of a call says of the next one."""

from datetime import timedelta

import pytest

from izin.iys.errors import BusyError, CallError, MisconfiguredError, RefusedError, ThrottledError

A_SECOND = timedelta(seconds=1)
A_QUARTER = timedelta(minutes=15)
AN_HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (BusyError("busy"), A_SECOND),
        (ThrottledError("the hour is spent", retry_after=AN_HOUR), AN_HOUR),
        (RefusedError("a rule is broken"), A_QUARTER),
        (MisconfiguredError("no right"), A_QUARTER),
        (MisconfiguredError("no right", retry_after=AN_HOUR), AN_HOUR),
    ],
)
def test_call_is_not_repeated_before_it_may_succeed(error: CallError, pause: timedelta):
    """A failed call counts against our address, so one that a person must correct waits."""
    assert error.pause(A_SECOND) == pause
