-- name: begin
-- Begin to restore partitions; one that is being restored goes on, unless its decisions were lost again meanwhile or
-- its topic is another one.
INSERT INTO bootstraps AS b (topic, partition, topic_id, next_offset, end_offset, decisions_from, keys, started_at)
SELECT %(topic)s, p.partition, %(topic_id)s, 0, p.end_offset, p.decisions_from, 0, %(now)s
FROM unnest(%(partitions)s::integer[], %(ends)s::bigint[], %(starts)s::bigint[])
    AS p (partition, end_offset, decisions_from)
ON CONFLICT (topic, partition) DO UPDATE SET
    topic_id = excluded.topic_id, next_offset = 0, end_offset = excluded.end_offset,
    decisions_from = excluded.decisions_from, keys = 0, started_at = excluded.started_at, finished_at = NULL
WHERE b.finished_at IS NOT NULL OR b.topic_id <> excluded.topic_id OR b.decisions_from < excluded.decisions_from

-- name: skip-lost
-- Follow the decisions from the first that is left.
UPDATE kafka_offsets AS o SET next_offset = p.next_offset
FROM unnest(%(partitions)s::integer[], %(starts)s::bigint[]) AS p (partition, next_offset)
WHERE o.topic = %(decisions)s AND o.partition = p.partition AND o.next_offset < p.next_offset

-- name: progress
-- How far each partition has been restored.
SELECT partition, topic_id, next_offset, end_offset, decisions_from, keys, started_at, finished_at
FROM bootstraps WHERE topic = %(topic)s ORDER BY partition

-- name: advance
-- Compare and set: a partition that another process has moved is missing in the result, and the caller rolls back.
UPDATE bootstraps AS b SET next_offset = moved.next_offset, keys = b.keys + moved.keys,
    finished_at = CASE WHEN moved.next_offset >= b.end_offset THEN %(now)s END
FROM unnest(%(partitions)s::integer[], %(befores)s::bigint[], %(nexts)s::bigint[], %(keys)s::bigint[])
    AS moved (partition, before, next_offset, keys)
WHERE b.topic = %(topic)s AND b.topic_id = %(topic_id)s AND b.partition = moved.partition
    AND b.next_offset = moved.before AND b.finished_at IS NULL
RETURNING b.partition
