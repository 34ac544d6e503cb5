"""The task of a contender's process: topics, broker and names."""

import sys
from typing import NamedTuple, Self


class Task(NamedTuple):
    """The arguments of a contender's process, in the order of its command line."""

    bootstrap_servers: str
    prefix: str
    """Of the installation's topics; ``events`` is one of them."""
    events: str
    """The topic to read, of the installation under ``prefix``."""
    output: str
    """The topic to write."""
    app: str
    """The consumer group, and the prefix of whatever else needs a name."""
    folder: str
    """Where state may be stored."""
    partitions: str

    @classmethod
    def from_command_line(cls) -> Self:
        """Return the task on this process's command line."""
        return cls(*sys.argv[1:])
