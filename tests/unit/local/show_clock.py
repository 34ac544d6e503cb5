"""Show the clocks of this process for each line of input: the wall clock and the monotonic one."""

import sys
import time
from datetime import UTC, datetime

for _ in iter(sys.stdin.readline, ""):
    sys.stdout.write(f"{datetime.now(UTC).timestamp()} {time.monotonic()}\n")
    sys.stdout.flush()
