-- name: append
-- What is to be written to Kafka, in this order.
INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
SELECT o.customer_id, o.topic, o.key, o.value, o.headers::jsonb, o.occurred_at
FROM unnest(
    %(customers)b::text[], %(topics)b::text[], %(keys)b::text[], %(values)b::bytea[],
    %(headers)b::text[], %(instants)b::timestamptz[]
) WITH ORDINALITY AS o (customer_id, topic, key, value, headers, occurred_at, place)
ORDER BY o.place

-- name: copy
-- The same, by the thousand.
COPY outbox (customer_id, topic, key, value, headers, occurred_at) FROM STDIN (FORMAT binary)

-- name: next
-- The oldest rows; the sole deliverer reads them in the order of their ids.
SELECT id, customer_id, topic, key, value, headers, occurred_at FROM outbox ORDER BY id LIMIT %(size)s

-- name: delivered
-- Rows that Kafka has acknowledged; they go on in the movements.
DELETE FROM outbox WHERE id = ANY(%(ids)s) RETURNING id

-- name: waiting
-- How many rows still wait.
SELECT count(*) FROM outbox
