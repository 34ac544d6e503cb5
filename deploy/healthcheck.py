"""Exit with 0 if the process of izin in this container lives: the HEALTHCHECK of the image.

It asks `/health/live`, not `/health/ready`: whoever restarts an unhealthy container would restart
one that waits for Kafka. A container has one process, on the port of its setting or of its kind.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from urllib.request import ProxyHandler, build_opener

_PORT = re.compile(r"IZIN_(?!\w+_OPERATIONS_)\w+_PORT")
_TIMEOUT = 2.0


def ports(environ: Mapping[str, str]) -> Iterator[int]:
    """Yield where it may listen: the ports that are set, then the defaults of all kinds."""
    yield from (int(value) for name, value in environ.items() if _PORT.fullmatch(name))
    yield from range(8081, 8091)


def lives(port: int) -> bool:
    """Return whether a process answers there that it lives."""
    try:
        with build_opener(ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/health/live", timeout=_TIMEOUT
        ) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # HTTP's OK
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not any(map(lives, ports(os.environ))))
