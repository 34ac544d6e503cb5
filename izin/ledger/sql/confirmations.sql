-- name: consents
-- The decisions recorded since an instant, each with the confirmations that were reported of its key, by their events.
-- What a decision is on stands in its bytes; the reader takes the consents given electronically.
SELECT m.key, m.customer_id, m.decision,
    (SELECT jsonb_object_agg(c.event_id, c.data -> 'after' ->> 'confirmed_at' ORDER BY c.recorded_at DESC)
        FROM history AS c
        WHERE hashtextextended(c.key, 0) = hashtextextended(m.key, 0) AND c.key = m.key AND c.kind = 'act'
            AND c.source = 'confirmation/' || c.event_id AND c.recorded_at >= m.recorded_at) AS confirmed
FROM history AS m
WHERE m.recorded_at >= %(since)s AND m.kind = 'decision' AND m.decision IS NOT NULL
    AND (%(customer_id)s::text IS NULL OR m.customer_id = %(customer_id)s)
ORDER BY m.recorded_at, m.shard, m.place
