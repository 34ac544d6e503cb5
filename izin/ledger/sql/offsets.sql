-- name: known
-- How far each partition of a topic is ingested, and of which topic and cluster.
SELECT partition, cluster_id, topic_id, next_offset FROM kafka_offsets WHERE topic = %(topic)s

-- name: begin
-- New partitions are read from the beginning.
INSERT INTO kafka_offsets (topic, partition, cluster_id, topic_id, next_offset)
SELECT %(topic)s, p.partition, %(cluster_id)s, %(topic_id)s, 0
FROM unnest(%(partitions)s::integer[]) AS p (partition)
ON CONFLICT (topic, partition) DO NOTHING

-- name: advance
-- Compare and set: a partition that another process has moved is missing in the result, and the caller rolls back.
UPDATE kafka_offsets AS o SET next_offset = moved.next_offset
FROM unnest(%(partitions)s::integer[], %(befores)s::bigint[], %(nexts)s::bigint[])
    AS moved (partition, before, next_offset)
WHERE o.topic = %(topic)s AND o.topic_id = %(topic_id)s
    AND o.partition = moved.partition AND o.next_offset = moved.before
RETURNING o.partition

-- name: held
-- Since when the ledger is held, and whether it is behind still; no row: it is not held.
SELECT min(held_since) AS since, bool_or(next_offset < announced_offset) AS is_behind
FROM kafka_offsets WHERE announced_offset IS NOT NULL HAVING count(*) > 0

-- name: forget
-- A topic was created again: it is read from its beginning.
DELETE FROM kafka_offsets WHERE topic = %(topic)s
