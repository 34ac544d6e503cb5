-- name: slice
-- The entries of a slice of the keys, up to the heads that a plan names, key by key in the order of their recording.
SELECT m.kind, m.customer_id, m.key, m.event_id, m.status, m.occurred_at, m.recorded_at, m.data, m.decision
FROM history AS m
JOIN unnest(%(shards)s::smallint[], %(places)s::bigint[]) AS h (shard, place)
    ON m.shard = h.shard AND m.place <= h.place
WHERE hashtextextended(m.key, 0) BETWEEN %(low)s AND %(high)s
    AND m.kind = ANY(%(kinds)s) AND m.key ~ '^[0-9]+/'
    AND is_selected(m.key, %(keys)s::text[], %(recipients)s::text[], %(brands)s::text[])
ORDER BY hashtextextended(m.key, 0), m.key, m.recorded_at, m.shard, m.place

-- name: of-keys
-- The same for these keys.
SELECT m.kind, m.customer_id, m.key, m.event_id, m.status, m.occurred_at, m.recorded_at, m.data, m.decision
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
JOIN unnest(%(shards)s::smallint[], %(places)s::bigint[]) AS h (shard, place)
    ON m.shard = h.shard AND m.place <= h.place
WHERE m.kind = ANY(%(kinds)s)
ORDER BY m.key, m.recorded_at, m.shard, m.place

-- name: erased
-- How many keys were erased with their history, of these customers or of all.
SELECT count(*) AS keys FROM erasures
WHERE erased_at IS NOT NULL AND (%(customers)s::text[] IS NULL OR customer_id = ANY(%(customers)s))
