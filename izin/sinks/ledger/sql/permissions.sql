-- name: forget
-- Forget what an earlier rebuild has found.
TRUNCATE permission_differences

-- name: sides
-- Each row that has a permission beside what the topic says of its key, in no order: both may be large.
SELECT c.*, t.key AS topic_key, t.customer_id AS topic_customer_id, t.may_send AS published,
    t.reason AS published_reason, t.since AS published_since, t.retailers AS published_retailers,
    array_remove(r.registered_code || coalesce(r.registered_access, '{}'), NULL) AS retailers
FROM consents AS c FULL JOIN topic_permissions AS t ON t.key = c.key LEFT JOIN retailer_access AS r ON r.key = c.key
WHERE c.key IS NULL OR c.permission_reason IS NOT NULL OR t.key IS NOT NULL

-- name: add
-- Note keys that differ.
INSERT INTO permission_differences (key, rebuild, kind, customer_id, may_send)
SELECT d.key, %(rebuild)s, d.kind, d.customer_id, d.may_send
FROM json_to_recordset(%(rows)s::json) AS d (key text, kind text, customer_id text, may_send boolean)
ON CONFLICT DO NOTHING

-- name: pass-over
-- What waits in the outbox will be in the topic.
DELETE FROM permission_differences AS d USING outbox AS o WHERE o.topic = %(topic)s AND o.key = d.key

-- name: counts
-- How many keys differ, by kind.
SELECT kind, count(*) AS keys FROM permission_differences WHERE rebuild = %(rebuild)s GROUP BY kind ORDER BY kind

-- name: differences
-- The first keys that differ, with the row of each.
SELECT d.key, d.kind, d.may_send AS published, c.may_send, c.permission_reason AS reason
FROM permission_differences AS d LEFT JOIN consents AS c ON c.key = d.key
WHERE d.rebuild = %(rebuild)s ORDER BY d.key LIMIT %(size)s

-- name: to-write
-- One page of the keys whose records are to be written.
SELECT key, kind, customer_id, may_send FROM permission_differences WHERE rebuild = %(rebuild)s ORDER BY key LIMIT %(size)s

-- name: written
-- The records of these keys are in the outbox.
DELETE FROM permission_differences WHERE key = ANY(%(keys)s)
