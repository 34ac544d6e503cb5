-- name: free-chain
-- Lock a chain that no other transaction has locked.
SELECT shard, place, link, recorded_at FROM chains ORDER BY shard LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: any-chain
-- All chains are locked: wait for one.
SELECT shard, place, link, recorded_at FROM chains WHERE shard = pg_backend_pid() % 16 FOR UPDATE

-- name: has-month
-- Whether a month has a partition.
SELECT FROM history_months WHERE month = %(month)s AND dropped_at IS NULL

-- name: create-month
-- Create the partition of a month.
SELECT create_month(%(month)s)

-- name: copy
-- Append facts, linked by the writer.
COPY history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, event_id, status, source,
    data, decision) FROM STDIN (FORMAT binary)

-- name: save-head
-- Store the new head of a chain.
UPDATE chains SET place = %(place)s, link = %(link)s, recorded_at = %(recorded_at)s WHERE shard = %(shard)s

-- name: known
-- The sources among these that were recorded lately, each looked up by its key: in a small history PostgreSQL would
-- read all of it instead, for every page.
SELECT one.source
FROM unnest(%(keys)b::text[], %(sources)b::text[]) AS one (key, source)
CROSS JOIN LATERAL (
    SELECT FROM history AS m
    WHERE hashtextextended(m.key, 0) = hashtextextended(one.key, 0) AND m.key = one.key AND m.source = one.source
        AND m.recorded_at >= %(since)s
    LIMIT 1
) AS m

-- name: decisions-of
-- The decisions on these keys, of any time.
SELECT m.decision, m.source
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
WHERE m.kind = 'decision'

-- name: recorded
-- How far the decisions on input partitions have been recorded.
SELECT topic, partition, next_offset FROM recorded_offsets WHERE topic = ANY(%(topics)s)

-- name: save-recorded
-- Store how far the decisions have been recorded.
INSERT INTO recorded_offsets (topic, partition, next_offset)
SELECT d.topic, d.partition, d.next_offset
FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(nexts)s::bigint[]) AS d (topic, partition, next_offset)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = greatest(recorded_offsets.next_offset, excluded.next_offset)

-- name: heads
-- Chains that have grown since their last anchor.
SELECT c.shard, c.place, c.link FROM chains AS c
WHERE c.place > coalesce((SELECT max(a.place) FROM anchors AS a WHERE a.shard = c.shard), 0)
ORDER BY c.shard

-- name: growth
-- The most rows by which a chain has grown since its last anchor.
SELECT coalesce(max(c.place - coalesce((SELECT max(a.place) FROM anchors AS a WHERE a.shard = c.shard), 0)), 0) AS rows
FROM chains AS c

-- name: anchor
-- Add heads that are about to be published.
INSERT INTO anchors (shard, place, link, anchored_at)
SELECT h.shard, h.place, h.link, %(now)s
FROM unnest(%(shards)s::smallint[], %(places)s::bigint[], %(links)s::bytea[]) AS h (shard, place, link)
RETURNING id, shard, place, link, anchored_at

-- name: anchors-after
-- The anchors that a file still lacks: ids are committed in their order (anchors_in_order).
SELECT id, shard, place, link, anchored_at FROM anchors WHERE id > %(after)s ORDER BY id

-- name: chains
-- The head of every chain.
SELECT shard, place, link FROM chains ORDER BY shard

-- name: cuts
-- The last dropped row of each chain.
SELECT DISTINCT ON (shard) shard, place, link FROM chain_cuts ORDER BY shard, place DESC

-- name: months
-- The months that have a partition, in order.
SELECT month FROM history_months WHERE dropped_at IS NULL ORDER BY month

-- name: between
-- The rows from one day (UTC) until another, chain by chain, in the order of their places.
SELECT shard, place, link, salt, commitment, kind, customer_id, key, event_id, status, source,
    (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred,
    (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded, data::text AS data, decision
FROM history
WHERE recorded_at >= %(since)s::timestamp AT TIME ZONE 'UTC' AND recorded_at < %(until)s::timestamp AT TIME ZONE 'UTC'
ORDER BY shard, place
