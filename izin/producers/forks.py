"""What a fork leaves behind in the child: clients of Kafka whose threads stayed in the parent.

Such a client can be neither used nor destroyed there, for destroying it waits for its threads. So
the child forgets it without freeing it, and makes clients of its own. Web servers (gunicorn) and
task queues (Celery) fork after the application was loaded.
"""

import ctypes
import os
from typing import Protocol
from weakref import WeakSet


class ForkObserver(Protocol):
    """What must begin anew in the child of a fork."""

    def forked(self) -> None:
        """Forget, in the child, what belongs to the parent."""


_OBSERVERS: WeakSet[ForkObserver] = WeakSet()


def observe_forks(observer: ForkObserver) -> None:
    """Call ``observer.forked`` in each child that this process forks, while it exists."""
    _OBSERVERS.add(observer)


def never_free(value: object) -> None:
    """Keep ``value`` and what it refers to until the process ends, at the end of Python too."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _in_child() -> None:
    for one in list(_OBSERVERS):
        one.forked()


os.register_at_fork(after_in_child=_in_child)
