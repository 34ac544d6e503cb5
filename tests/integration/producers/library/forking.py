"""A process that publishes, forks, and publishes in the parent and in the child.

As gunicorn and Celery do it: the publisher is made, and used, before the fork; the child ends as
any Python does. It prints a line of JSON for each process: the ids of the events.
"""

import json
import os
import sys

from izin.producers import ConsentPublisher, NewEvent

BRAND = 100001
EACH = 20


def an_opt_out(name: str, number: int) -> NewEvent:
    """Return an opt-out that is identified by who publishes it."""
    return NewEvent(
        brand_code=BRAND,
        type="MESAJ",
        recipient=f"+9055500001{number:02}",
        status="RET",
        source="HS_WEB",
        origin_ref=name,
        version=number,
    )


def publish(publisher: ConsentPublisher, name: str) -> None:
    """Publish some events, and print their ids once all are acknowledged."""
    pending = [publisher.submit(an_opt_out(name, number)) for number in range(EACH)]
    line = json.dumps({name: [one.result(30).event_id for one in pending]}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())


def main() -> None:
    """Publish before the fork where the argument says so, and in both processes after it."""
    publisher = ConsentPublisher("shop")
    if sys.argv[1] == "used":
        publish(publisher, "before")
        # Outstanding over the fork: the parent's.
        publisher.submit(an_opt_out("outstanding", 0))
    child = os.fork()
    publish(publisher, "parent" if child else "child")
    if child:
        # The child ends first, so that it waits for nothing of this process.
        _, status = os.waitpid(child, 0)
        publish(publisher, "after")
        publisher.close()
        sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
