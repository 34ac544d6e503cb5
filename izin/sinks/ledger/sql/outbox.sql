-- name: append
-- What is to be written to Kafka, in this order.
INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
SELECT o.customer_id, o.topic, o.key, o.value, o.headers::jsonb, o.occurred_at
FROM unnest(
    %(customers)b::text[], %(topics)b::text[], %(keys)b::text[], %(values)b::bytea[],
    %(headers)b::text[], %(instants)b::timestamptz[]
) WITH ORDINALITY AS o (customer_id, topic, key, value, headers, occurred_at, place)
ORDER BY o.place

-- name: next
-- The oldest rows; the sole deliverer reads them in the order of their ids.
SELECT id, customer_id, topic, key, value, headers, occurred_at FROM outbox ORDER BY id LIMIT %(size)s

-- name: delivered
-- Rows that Kafka has acknowledged: out of the outbox, into the movements, at once.
WITH gone AS (
    DELETE FROM outbox WHERE id = ANY(%(ids)s) RETURNING *
)
SELECT append_movements(coalesce(json_agg(json_build_object(
        'kind', 'delivery', 'customer_id', gone.customer_id, 'key', gone.key, 'source', 'outbox/' || gone.id,
        'occurred_at', %(now)s::timestamptz, 'recorded_at', %(now)s::timestamptz,
        'data', jsonb_build_object('topic', gone.topic, 'partition', place.partition, 'offset', place."offset"))
    ORDER BY gone.id), '[]'::json))
FROM gone
JOIN unnest(%(ids)s::bigint[], %(partitions)s::integer[], %(offsets)s::bigint[])
    AS place (id, partition, "offset") ON place.id = gone.id

-- name: waiting
-- How many rows still wait.
SELECT count(*) FROM outbox
