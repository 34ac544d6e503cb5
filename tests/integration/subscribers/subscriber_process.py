"""A subscriber in a process of its own: it notes what it handled, then confirms it.

Arguments: bootstrap servers, topic prefix, a file for what was handled, and how many changes to
handle before the process kills itself, without confirming the last one (0: never).
"""

import asyncio
import os
import signal
import sys

from izin.subscribers import ChangeKind, KafkaAccess, subscribe


async def main() -> None:
    """Handle opt-outs until killed."""
    servers, prefix, file, killed_after = sys.argv[1:]
    access = KafkaAccess(bootstrap_servers=servers, topic_prefix=prefix)
    notes = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    handled = 0
    async for change in subscribe(f"{prefix}sms", [ChangeKind.OPT_OUTS], access=access):
        os.write(notes, f"{change.position.partition} {change.id.id}\n".encode())
        handled += 1
        if handled == int(killed_after):
            os.kill(os.getpid(), signal.SIGKILL)
        await change.done()


if __name__ == "__main__":
    asyncio.run(main())
