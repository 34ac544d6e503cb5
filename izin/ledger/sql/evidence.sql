-- name: rows
-- The rows of the history of these keys that were not erased, as their commitments cover them.
SELECT m.shard, m.place, m.salt, m.kind, m.customer_id, m.key, m.event_id, m.status, m.source,
    (extract(epoch FROM m.occurred_at) * 1000000)::bigint AS occurred,
    (extract(epoch FROM m.recorded_at) * 1000000)::bigint AS recorded, m.recorded_at, m.data::text AS data, m.decision
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
ORDER BY m.recorded_at, m.shard, m.place

-- name: deliveries
-- What subscribers acknowledged of these keys, as their commitments cover it. The history keeps the name of a subscriber
-- that was removed.
SELECT d.batch, d.place, d.subscriber_id, d.customer_id, d.type, d.topic, d.partition, d."offset", d.attempts, d.status,
    (extract(epoch FROM d.delivered_at) * 1000000)::bigint AS delivered, d.recorded_at, d.salt, d.webhook_id, d.key,
    d.resend_id, coalesce(s.name, 'no. ' || d.subscriber_id) AS subscriber
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN deliveries AS d ON hashtextextended(d.key, 0) = hashtextextended(k.key, 0) AND d.key = k.key
LEFT JOIN subscribers AS s ON s.id = d.subscriber_id
ORDER BY d.batch, d.place

-- name: batches
-- The commitments of whole batches of deliveries, in the order of their places.
SELECT batch, array_agg(commitment ORDER BY place) AS commitments
FROM deliveries WHERE batch = ANY(%(batches)s) GROUP BY batch ORDER BY batch

-- name: digests
-- The rows of the history with the digests of batches, each recorded at the same instant as its batch.
SELECT m.shard, m.place, m.salt, m.kind, m.customer_id, m.key, m.event_id, m.status, m.source,
    (extract(epoch FROM m.occurred_at) * 1000000)::bigint AS occurred,
    (extract(epoch FROM m.recorded_at) * 1000000)::bigint AS recorded, m.recorded_at, m.data::text AS data, m.decision
FROM history AS m
WHERE m.recorded_at = ANY(%(instants)s) AND m.kind = 'delivery' AND m.source = ANY(%(sources)s)
ORDER BY m.shard, m.place

-- name: anchors
-- The next anchor of each of these rows, which may be the row itself, and the one before.
SELECT r.shard, r.place, n.place AS anchor, n.link, n.anchored_at, b.place AS before, b.link AS before_link
FROM unnest(%(shards)s::smallint[], %(places)s::bigint[]) AS r (shard, place)
CROSS JOIN LATERAL (
    SELECT a.place, a.link, a.anchored_at FROM anchors AS a
    WHERE a.shard = r.shard AND a.place >= r.place ORDER BY a.place LIMIT 1) AS n
LEFT JOIN LATERAL (
    SELECT a.place, a.link FROM anchors AS a
    WHERE a.shard = r.shard AND a.place < r.place ORDER BY a.place DESC LIMIT 1) AS b ON true
ORDER BY r.shard, r.place

-- name: window
-- The commitments of the rows of a chain from one place to another that were recorded between two instants, in one text,
-- with their number, and the link of the row before the first. They are computed here, as `content` does in ledger.history.hash_chain, because a hundred
-- thousand rows would take long on their way: nothing rests on it, for the links that follow from them must lead to the
-- anchor.
SELECT count(*) FILTER (WHERE w.place >= %(first)s) AS rows,
    string_agg(w.commitment, ''::bytea ORDER BY w.place) FILTER (WHERE w.place >= %(first)s) AS commitments,
    (array_agg(w.link) FILTER (WHERE w.place < %(first)s))[1] AS before
FROM (
    SELECT m.place, m.link, coalesce(m.commitment, sha256(
        m.salt || convert_to(concat(
            '[', m.place, ', ', to_json(m.kind), ', ', to_json(m.customer_id), ', ', to_json(m.key), ', ',
            coalesce(to_json(m.event_id)::text, 'null'), ', ', coalesce(to_json(m.status)::text, 'null'), ', ',
            coalesce(to_json(m.source)::text, 'null'), ', ', (extract(epoch FROM m.occurred_at) * 1000000)::bigint, ', ',
            (extract(epoch FROM m.recorded_at) * 1000000)::bigint, ', ', coalesce(m.data::text, 'null'), ']'), 'UTF8')
        || coalesce(m.decision, ''::bytea))) AS commitment
    FROM history AS m
    WHERE m.recorded_at BETWEEN %(since)s AND %(until)s
        AND m.shard = %(shard)s AND m.place BETWEEN %(first)s - 1 AND %(last)s
) AS w
