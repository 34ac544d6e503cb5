-- name: copy
-- Append messages for Kafka, in this order.
COPY outbox (customer_id, topic, key, value, headers, occurred_at) FROM STDIN (FORMAT binary)

-- name: horizon
-- Which transactions have ended, and which ids are taken: the oldest transaction that has not ended, the last id taken,
-- and, where that is above an id, a transaction younger than every one that has taken an id so far. The id is read
-- before this transaction gets its own number, so whoever took one has a lower number (outbox_in_order). The page of
-- the same transaction is not sorted but read from the index: statistics of a table that is mostly empty mislead.
WITH taken AS MATERIALIZED (
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS last_id FROM outbox_id_seq
)
SELECT last_id, pg_postmaster_start_time() AS server,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
    CASE WHEN last_id > %(after)s THEN pg_current_xact_id()::text::bigint END AS transaction,
    set_config('enable_sort', 'off', true)
FROM taken

-- name: next
-- The oldest rows above the floor, in the order of their ids; only one process reads them at a time.
SELECT id, customer_id, topic, key, value, headers, occurred_at FROM outbox
WHERE id > %(floor)s ORDER BY id LIMIT %(size)s

-- name: delivered
-- Delete rows that Kafka has acknowledged; the history keeps them.
DELETE FROM outbox WHERE id = ANY(%(ids)s) RETURNING id
