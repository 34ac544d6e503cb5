-- name: insert
-- Insert a subscriber. A name that another has is missing in the result.
INSERT INTO subscribers (name, customer_id, url, types, brands, channels, origins, parallel, secret, created_at, caught_up_at)
VALUES (%(name)s, %(customer_id)s, %(url)s, %(types)s, %(brands)s, %(channels)s, %(origins)s, %(parallel)s, %(secret)s,
    %(now)s, %(now)s)
ON CONFLICT (name) DO NOTHING
RETURNING *

-- name: of-name
-- A subscriber, locked until the transaction ends.
SELECT * FROM subscribers WHERE name = %(name)s FOR NO KEY UPDATE

-- name: all
-- Every subscriber, by name.
SELECT * FROM subscribers ORDER BY name

-- name: pause
-- Pause a subscriber; one that is paused is missing in the result.
UPDATE subscribers SET paused_at = %(now)s, paused_for = %(paused_for)s, version = version + 1
WHERE id = %(id)s AND paused_at IS NULL
RETURNING *

-- name: resume
-- Let a paused subscriber be served again.
UPDATE subscribers SET paused_at = NULL, paused_for = NULL, version = version + 1
WHERE id = %(id)s AND paused_at IS NOT NULL
RETURNING *

-- name: retry
-- Let what a subscriber refused be posted at once: whoever delivers begins with it anew.
UPDATE subscribers SET version = version + 1
WHERE id = %(id)s AND paused_at IS NULL AND failing_since IS NOT NULL
RETURNING *

-- name: rotate
-- Sign with a new secret, and with the former one too until an instant.
UPDATE subscribers SET secret = %(secret)s, version = version + 1,
    former_secret = CASE WHEN %(until)s > %(now)s THEN %(former)s END,
    former_until = CASE WHEN %(until)s > %(now)s THEN %(until)s END
WHERE id = %(id)s
RETURNING *

-- name: remove
-- Remove a subscriber, and how far it was. Its deliveries stay.
WITH cursors AS (DELETE FROM delivery_cursors WHERE subscriber_id = %(id)s),
orders AS (DELETE FROM resends WHERE subscriber_id = %(id)s)
DELETE FROM subscribers WHERE id = %(id)s
RETURNING *

-- name: add-cursors
-- Add cursors of a subscriber.
INSERT INTO delivery_cursors (
    subscriber_id, lane, topic, partition, cluster_id, topic_id, next_offset, end_offset, resend_id)
SELECT %(id)s, c.lane, c.topic, c.partition, c.cluster_id, c.topic_id, c.next_offset, c.end_offset, c.resend_id
FROM json_to_recordset(%(cursors)s::json) AS c (
    lane text, topic text, partition integer, cluster_id text, topic_id text, next_offset bigint, end_offset bigint,
    resend_id bigint)

-- name: cursors
-- The cursors of these subscribers.
SELECT subscriber_id, lane, topic, partition, cluster_id, topic_id, next_offset, open_offsets, end_offset, resend_id
FROM delivery_cursors WHERE subscriber_id = ANY(%(ids)s) ORDER BY subscriber_id, lane, topic, partition

-- name: begin-anew
-- Read a topic that was created anew from its beginning.
UPDATE delivery_cursors SET cluster_id = %(cluster_id)s, topic_id = %(topic_id)s, next_offset = 0, open_offsets = '{}'
WHERE subscriber_id = %(subscriber_id)s AND lane = %(lane)s AND topic = %(topic)s

-- name: brand-customers
-- Whose each brand is.
SELECT brand_code, customer_id FROM brands

-- name: latest-attempts
-- The latest failed attempts of a subscriber.
SELECT failed_at, topic, partition, "offset", attempt, status, failure FROM delivery_attempts
WHERE subscriber_id = %(id)s ORDER BY failed_at DESC, id DESC LIMIT %(size)s
