"""Topics followed into memory, and for how long nobody has seen that nothing is missing.

follower        reads the records of a topic, many at a time, into a table
end             where the topic ends, and since when all before that was read
"""

from izin.kafka.follower.follower import (
    RecordFollower,
    TopicFollower,
    TopicTable,
    in_thread,
    take_each,
)

__all__ = ("RecordFollower", "TopicFollower", "TopicTable", "in_thread", "take_each")
