-- name: of-all
-- What people did (is_look: whether it was a look) before a position of the history, the newest first: changes, looks or
-- both, each read by the index in its order.
SELECT a.* FROM unnest(%(looks)s::boolean[]) AS k (is_look)
CROSS JOIN LATERAL (
    SELECT m.recorded_at, m.shard, m.place, m.customer_id, m.key, m.data FROM history AS m
    WHERE m.kind = 'act' AND ((m.data ->> 'act') = 'look') = k.is_look AND m.recorded_at <= %(at)s
        AND (m.recorded_at, m.shard, m.place) < (%(at)s, %(shard)s::smallint, %(place)s::bigint)
    ORDER BY m.recorded_at DESC, m.shard DESC, m.place DESC LIMIT %(size)s
) AS a
ORDER BY a.recorded_at DESC, a.shard DESC, a.place DESC LIMIT %(size)s

-- name: of-customer
-- The same, of what concerns a customer.
SELECT a.* FROM unnest(%(looks)s::boolean[]) AS k (is_look)
CROSS JOIN LATERAL (
    SELECT m.recorded_at, m.shard, m.place, m.customer_id, m.key, m.data FROM history AS m
    WHERE m.kind = 'act' AND m.customer_id = %(customer_id)s AND ((m.data ->> 'act') = 'look') = k.is_look
        AND m.recorded_at <= %(at)s
        AND (m.recorded_at, m.shard, m.place) < (%(at)s, %(shard)s::smallint, %(place)s::bigint)
    ORDER BY m.recorded_at DESC, m.shard DESC, m.place DESC LIMIT %(size)s
) AS a
ORDER BY a.recorded_at DESC, a.shard DESC, a.place DESC LIMIT %(size)s

-- name: of-actor
-- The same, of what an actor did: for a customer, or for all.
SELECT a.* FROM unnest(%(looks)s::boolean[]) AS k (is_look)
CROSS JOIN LATERAL (
    SELECT m.recorded_at, m.shard, m.place, m.customer_id, m.key, m.data FROM history AS m
    WHERE m.kind = 'act' AND (m.data ->> 'by') = %(by)s AND ((m.data ->> 'act') = 'look') = k.is_look
        AND m.recorded_at <= %(at)s
        AND (m.recorded_at, m.shard, m.place) < (%(at)s, %(shard)s::smallint, %(place)s::bigint)
        AND (%(customer_id)s::text IS NULL OR m.customer_id = %(customer_id)s)
    ORDER BY m.recorded_at DESC, m.shard DESC, m.place DESC LIMIT %(size)s
) AS a
ORDER BY a.recorded_at DESC, a.shard DESC, a.place DESC LIMIT %(size)s
