-- name: create-topic
-- The latest record of each key in the topic of permissions, for the length of this session.
CREATE TEMP TABLE topic_permissions (
    key text PRIMARY KEY, customer_id text NOT NULL, may_send boolean NOT NULL, digest bytea NOT NULL)

-- name: copy-topic
-- Add the latest records of one partition.
COPY topic_permissions (key, customer_id, may_send, digest) FROM STDIN (FORMAT binary)

-- name: forget
-- Forget what an earlier rebuild has found.
TRUNCATE permission_differences

-- name: page
-- One page of the rows that have a permission, in the order of keys.
SELECT * FROM consents WHERE key > %(after)s AND permission_reason IS NOT NULL ORDER BY key LIMIT %(size)s

-- name: of-page
-- What the topic says of the keys of that page.
SELECT key, may_send, digest FROM topic_permissions WHERE key = ANY(%(keys)s)

-- name: topic
-- One page of what the topic says, in the order of keys.
SELECT key, digest FROM topic_permissions WHERE key > %(after)s ORDER BY key LIMIT %(size)s

-- name: add
-- Note keys that differ.
INSERT INTO permission_differences (key, rebuild, kind, customer_id, may_send)
SELECT d.key, %(rebuild)s, d.kind, d.customer_id, d.may_send
FROM unnest(%(keys)s::text[], %(kinds)s::text[], %(customers)s::text[], %(answers)s::boolean[])
    AS d (key, kind, customer_id, may_send)
ON CONFLICT DO NOTHING

-- name: add-surplus
-- Note the keys that have no row.
INSERT INTO permission_differences (key, rebuild, kind, customer_id, may_send)
SELECT t.key, %(rebuild)s, 'surplus', t.customer_id, t.may_send FROM topic_permissions AS t
WHERE NOT EXISTS (SELECT FROM consents AS c WHERE c.key = t.key)
ON CONFLICT DO NOTHING

-- name: pass-over
-- What waits in the outbox will be in the topic.
DELETE FROM permission_differences AS d USING outbox AS o WHERE o.topic = %(topic)s AND o.key = d.key

-- name: counts
-- How many keys differ, by kind.
SELECT kind, count(*) AS keys FROM permission_differences WHERE rebuild = %(rebuild)s GROUP BY kind ORDER BY kind

-- name: differences
-- One page of the keys that differ, with the row of each.
SELECT d.key, d.kind, d.may_send AS published, c.may_send, c.permission_reason AS reason
FROM permission_differences AS d LEFT JOIN consents AS c ON c.key = d.key
WHERE d.rebuild = %(rebuild)s AND d.key > %(after)s ORDER BY d.key LIMIT %(size)s

-- name: to-write
-- One page of the keys whose records are to be written.
SELECT key, kind, customer_id, may_send FROM permission_differences WHERE rebuild = %(rebuild)s ORDER BY key LIMIT %(size)s

-- name: written
-- The records of these keys are in the outbox.
DELETE FROM permission_differences WHERE key = ANY(%(keys)s)
