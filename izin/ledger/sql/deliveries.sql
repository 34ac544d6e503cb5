-- name: enter
-- Show that this process delivers webhooks, and forget those that are gone.
WITH gone AS (DELETE FROM webhook_processes WHERE owner <> ALL(living()) AND owner <> %(owner)s)
INSERT INTO webhook_processes (owner) VALUES (%(owner)s) ON CONFLICT (owner) DO NOTHING

-- name: leave
-- Deliver no more.
DELETE FROM webhook_processes WHERE owner = %(owner)s

-- name: assignments
-- Every subscriber that is not paused, with its lease.
SELECT s.id, s.version, coalesce(l.owner, '') AS owner, coalesce(l.epoch, 0) AS epoch,
    coalesce(l.owner = ANY(living()), false) AS is_owned
FROM subscribers AS s LEFT JOIN leases AS l ON l.name = 'webhooks ' || s.id
WHERE s.paused_at IS NULL
ORDER BY s.id

-- name: processes
-- The processes that deliver webhooks and live.
SELECT owner FROM webhook_processes WHERE owner = ANY(living()) ORDER BY owner

-- name: give-back
-- Give back a lease, so that another process takes it at once. The epoch stays, and rises when it is taken.
UPDATE leases SET owner = '' WHERE name = %(name)s AND epoch = %(epoch)s AND owner = %(owner)s

-- name: check-leases
-- Which of these leases this process still owns; none of them can be taken before the transaction ends.
SELECT l.name FROM leases AS l
WHERE (l.name, l.epoch) IN (SELECT n.name, n.epoch FROM unnest(%(names)s::text[], %(epochs)s::bigint[]) AS n (name, epoch))
FOR KEY SHARE OF l

-- name: next-batch
-- The number of a batch.
SELECT nextval('delivery_batches') AS batch

-- name: copy
-- Add a batch of acknowledgements.
COPY deliveries (batch, place, subscriber_id, customer_id, type, topic, partition, "offset", attempts, status,
    delivered_at, recorded_at, commitment, salt, webhook_id, key, resend_id) FROM STDIN (FORMAT binary)

-- name: move-cursors
-- Move cursors.
UPDATE delivery_cursors AS c SET next_offset = n.next_offset, open_offsets = n.open_offsets
FROM json_to_recordset(%(cursors)s::json) AS n (
    subscriber_id bigint, lane text, topic text, partition integer, next_offset bigint, open_offsets bigint[],
    resend_id bigint)
WHERE (c.subscriber_id, c.lane, c.topic, c.partition, c.resend_id)
    = (n.subscriber_id, n.lane, n.topic, n.partition, n.resend_id)

-- name: caught-up
-- Note when subscribers last had everything.
UPDATE subscribers AS s SET caught_up_at = n.caught_up_at
FROM unnest(%(ids)s::bigint[], %(instants)s::timestamptz[]) AS n (id, caught_up_at) WHERE s.id = n.id

-- name: add-attempts
-- Add failed attempts.
INSERT INTO delivery_attempts (subscriber_id, failed_at, topic, partition, "offset", attempt, status, failure)
SELECT n.subscriber_id, n.failed_at, n.topic, n.partition, n."offset", n.attempt, n.status, n.failure
FROM json_to_recordset(%(attempts)s::json) AS n (subscriber_id bigint, failed_at timestamptz, topic text,
    partition integer, "offset" bigint, attempt integer, status smallint, failure text)

-- name: save-health
-- Note since when a subscriber fails, and which alerts were raised.
UPDATE subscribers SET failing_since = %(failing_since)s, alerts = %(alerts)s,
    last_failure = coalesce(%(failure)s, last_failure), last_failure_at = coalesce(%(failed_at)s, last_failure_at)
WHERE id = %(subscriber_id)s

-- name: of-keys
-- The deliveries of keys. Of a removed subscriber the history has the name. A repetition has the number of its resend.
SELECT coalesce(s.name, 'removed, no. ' || d.subscriber_id) AS subscriber, d.type, d.topic, d.partition, d."offset",
    d.webhook_id, d.attempts, d.status, d.delivered_at, d.key, d.resend_id
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN deliveries AS d ON hashtextextended(d.key, 0) = hashtextextended(k.key, 0) AND d.key = k.key
LEFT JOIN subscribers AS s ON s.id = d.subscriber_id
ORDER BY d.delivered_at, d.batch, d.place

-- name: batches
-- The rows of deliveries in the order of their batches.
SELECT batch, place, subscriber_id, customer_id, type, topic, partition, "offset", attempts, status,
    (extract(epoch FROM delivered_at) * 1000000)::bigint AS delivered, recorded_at, commitment, salt, webhook_id,
    key, resend_id
FROM deliveries ORDER BY batch, place
