-- name: begin
-- Begin a resend, which whoever delivers then notices; no row where one of the subscriber is not done.
WITH noticed AS (UPDATE subscribers SET version = version + 1 WHERE id = %(id)s)
INSERT INTO resends (subscriber_id, ordered_at, types, brands, channels, origins, keys, planned)
VALUES (%(id)s, %(now)s, %(types)s, %(brands)s, %(channels)s, %(origins)s, %(keys)s, %(planned)s)
ON CONFLICT (subscriber_id) WHERE finished_at IS NULL DO NOTHING
RETURNING id

-- name: list
-- Add keys whose opt-outs are older than their topic, numbered from the first on.
INSERT INTO resend_opt_outs (resend_id, number, key)
SELECT %(id)s, %(first)s + k.place - 1, k.key FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS k (key, place)

-- name: open
-- The resend of a subscriber that is not done.
SELECT r.id, r.ordered_at, r.types, r.brands, r.channels, r.origins, r.keys, s.customer_id
FROM resends AS r JOIN subscribers AS s ON s.id = r.subscriber_id WHERE r.subscriber_id = %(id)s AND r.finished_at IS NULL

-- name: end
-- End a resend that is not done. Of one that is cancelled whoever delivers must learn.
WITH ended AS (
    UPDATE resends SET finished_at = %(now)s, cancelled_at = %(cancelled_at)s, keys = keys[1:0]
    WHERE subscriber_id = %(id)s AND finished_at IS NULL AND (%(number)s::bigint IS NULL OR id = %(number)s)
    RETURNING id, subscriber_id
), cursors AS (
    DELETE FROM delivery_cursors AS c USING ended AS e WHERE c.subscriber_id = e.subscriber_id AND c.resend_id = e.id
), opt_outs AS (
    DELETE FROM resend_opt_outs AS o USING ended AS e WHERE o.resend_id = e.id
), noticed AS (
    UPDATE subscribers AS s SET version = version + 1 FROM ended AS e
    WHERE s.id = e.subscriber_id AND %(cancelled_at)s::timestamptz IS NOT NULL
)
SELECT id FROM ended

-- name: latest
-- The latest resend of a subscriber: how many events were counted when it was ordered, and how many it has brought.
SELECT r.id, r.ordered_at, r.finished_at, r.cancelled_at, r.planned,
    (SELECT count(*) FROM deliveries AS d WHERE d.resend_id = r.id) AS brought,
    CASE WHEN r.cancelled_at IS NOT NULL THEN 'cancelled' WHEN r.finished_at IS NULL THEN 'running' ELSE 'done' END AS state
FROM resends AS r WHERE r.subscriber_id = %(id)s ORDER BY r.id DESC LIMIT 1

-- name: states
-- What holds of keys now: the answer, since when, and the consent that it rests on.
SELECT key, may_send, permission_since AS since, registered_at, registered_consent_date AS consent_date
FROM consents WHERE key = ANY(%(keys)s)

-- name: older
-- A page of a customer's rows by key that opted out in a period, or nobody knows when, and may not be messaged.
SELECT 0 AS number, c.* FROM consents AS c
WHERE c.key > %(after)s AND c.customer_id = %(customer_id)s AND c.latest_ret_at IS NOT NULL AND NOT c.may_send
    AND (%(keys)s::text[] IS NULL OR c.key = ANY(%(keys)s)) AND (c.desired_status IS DISTINCT FROM 'RET'
        OR (coalesce(c.received_at, c.latest_ret_at) >= coalesce(%(since)s, '-infinity'::timestamptz)
            AND coalesce(c.received_at, c.latest_ret_at) < %(until)s))
ORDER BY c.key LIMIT %(size)s

-- name: listed
-- A page of the keys of a resend from a number on, or of these numbers, each with its row. An erased key has neither.
SELECT o.number, c.* FROM resend_opt_outs AS o JOIN consents AS c ON c.key = o.key
WHERE o.resend_id = %(id)s AND o.number >= %(first)s AND (%(numbers)s::bigint[] IS NULL OR o.number = ANY(%(numbers)s))
ORDER BY o.number LIMIT %(size)s
