-- name: hold
-- Partitions that are behind what this ledger has announced. A new ledger has read none; and of one that is being
-- restored from desired consents nothing is believed anyway.
UPDATE kafka_offsets AS o SET announced_offset = a.next_offset, held_since = coalesce(o.held_since, %(now)s)
FROM unnest(%(partitions)s::integer[], %(nexts)s::bigint[]) AS a (partition, next_offset)
WHERE o.topic = %(topic)s AND o.topic_id = %(topic_id)s AND o.partition = a.partition
    AND o.next_offset < a.next_offset AND o.announced_offset IS DISTINCT FROM a.next_offset
    AND EXISTS (SELECT FROM kafka_offsets AS r WHERE r.topic = o.topic AND r.next_offset > 0)
    AND NOT EXISTS (SELECT FROM bootstraps AS b WHERE b.partition = o.partition AND b.finished_at IS NULL)
RETURNING o.partition, o.next_offset, a.next_offset AS announced_offset

-- name: ends
-- The last row of each chain; nothing is appended before the act that names them.
SELECT shard, place FROM chains ORDER BY shard FOR UPDATE

-- name: continue-numbers
-- Numbers of anchors that were published are not given again; with the last batch of deliveries.
SELECT setval('anchors_id_seq', greatest(%(anchor)s, (SELECT last_value FROM anchors_id_seq))),
    (SELECT last_value FROM delivery_batches) AS batch

-- name: changed
-- A page of the keys of which something may have happened that the ledger lost: those with a decision since it is held,
-- which are read again, and those whose obligation was open at the moment to which it was restored.
SELECT key FROM (
    SELECT key FROM history WHERE kind = 'decision' AND recorded_at >= %(since)s
    UNION
    SELECT c.key FROM consents AS c WHERE is_unsettled(c)
) AS changed
WHERE key > %(after)s ORDER BY key LIMIT %(size)s

-- name: superseded
-- Permissions that were not published yet and have a newer one behind them: none is given meanwhile that no longer is.
DELETE FROM outbox AS o USING outbox AS newer
WHERE o.topic = %(topic)s AND newer.topic = o.topic AND newer.key = o.key AND newer.id > o.id

-- name: events
-- Events of the ledger's own that were not published yet.
SELECT id, value FROM outbox WHERE topic = ANY(%(lanes)s) AND occurred_at >= %(since)s

-- name: unsaid
-- Rescues that followed from a state which was not the last: each key is ruled on again.
DELETE FROM outbox WHERE id = ANY(%(ids)s)

-- name: release
-- The ledger has caught up.
UPDATE kafka_offsets SET announced_offset = NULL, held_since = NULL WHERE announced_offset IS NOT NULL
