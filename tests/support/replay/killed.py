"""Run a command of ``izin`` that is killed at a moment of redriving: ``killed MOMENT WORDS...``."""

import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from izin.cli.cli import app
from izin.ledger import dead_letters

MOMENTS: Mapping[str, str] = {
    "before it is noted": "redriven",
    "before its result is noted": "settle",
}
"""The step before which the process ends, by moment."""


async def _killed(*_: object, **__: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


if __name__ == "__main__":
    moment, *words = sys.argv[1:]
    setattr(dead_letters, MOMENTS[moment], _killed)
    app(words)
