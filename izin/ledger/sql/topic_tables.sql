-- name: create-desired
-- What the topic of desired consents has of each key, for the length of this session.
CREATE TEMP TABLE topic_desired (
    key text NOT NULL, partition integer NOT NULL, "offset" bigint NOT NULL, status text, effective_at timestamptz,
    rank integer, event_id text, value bytea)

-- name: copy-desired
-- Add records of the topic.
COPY topic_desired (key, partition, "offset", status, effective_at, rank, event_id, value) FROM STDIN (FORMAT binary)

-- name: forget-older-desired
-- Keep the latest record of each key, and none of a key that has a tombstone. A key is on one partition.
DELETE FROM topic_desired AS t USING (
    SELECT key, max("offset") AS latest FROM topic_desired GROUP BY key HAVING count(*) > 1 OR bool_or(status IS NULL)
) AS l
WHERE t.key = l.key AND (t."offset" < l.latest OR t.status IS NULL)

-- name: analyze-desired
-- Have what is joined with it planned by what the table has.
ANALYZE topic_desired

-- name: create-permissions
-- The same of the topic of permissions.
CREATE TEMP TABLE topic_permissions (
    key text NOT NULL, "offset" bigint NOT NULL, customer_id text, may_send boolean, reason text, since timestamptz,
    retailers text)

-- name: copy-permissions
-- Add records of the topic.
COPY topic_permissions (key, "offset", customer_id, may_send, reason, since, retailers) FROM STDIN (FORMAT binary)

-- name: forget-older-permissions
-- The same for permissions.
DELETE FROM topic_permissions AS t USING (
    SELECT key, max("offset") AS latest FROM topic_permissions GROUP BY key HAVING count(*) > 1 OR bool_or(reason IS NULL)
) AS l
WHERE t.key = l.key AND (t."offset" < l.latest OR t.reason IS NULL)

-- name: analyze-permissions
-- Have what is joined with it planned by what the table has.
ANALYZE topic_permissions
