-- name: copy
-- Append messages for Kafka, in this order.
COPY outbox (customer_id, topic, key, value, headers, occurred_at) FROM STDIN (FORMAT binary)

-- name: next
-- The oldest rows, in the order of their ids; only one process reads them at a time.
SELECT id, customer_id, topic, key, value, headers, occurred_at FROM outbox ORDER BY id LIMIT %(size)s

-- name: delivered
-- Delete rows that Kafka has acknowledged; movements keeps them.
DELETE FROM outbox WHERE id = ANY(%(ids)s) RETURNING id

-- name: waiting
-- How many rows still wait.
SELECT count(*) FROM outbox
