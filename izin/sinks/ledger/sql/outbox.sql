-- name: copy
-- What is to be written to Kafka, in this order.
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
