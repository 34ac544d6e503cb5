"""The pull API: opt-outs, permissions and outcomes over HTTP, for those who run no Kafka client.

A process of its own, which needs Kafka alone and stores nothing. What a client has read is in its
cursor, a text that it keeps.

protocol       what clients send and get: parameters, cursors, pages, problems; records of a topic
older_records  what is not in memory any more, by a few consumers that requests share
sources        where all of them read from: the latest records in memory, older ones from Kafka;
               a record as JSON, and for which keys
endpoint       HTTP, its metrics, and pages: what a cursor has before it; and the process
"""

__all__: tuple[str, ...] = ()
