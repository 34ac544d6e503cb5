-- name: findings
-- What stands against the erasure of each of these keys, and until when its history is retained.
SELECT k.key, coalesce(c.customer_id, history.customer_id, '') AS customer_id, c.key IS NOT NULL AS has_row,
    coalesce(c.registered = 'ONAY' OR c.desired_status = 'ONAY' AND c.state NOT IN ('refused', 'expired'), false)
        AS stands,
    c.key IS NOT NULL AND is_owed(c) AS is_owed,
    ARRAY(
        SELECT h.id FROM legal_holds AS h
        WHERE h.released_at IS NULL AND h.customer_id = coalesce(c.customer_id, history.customer_id)
            AND (h.key IS NULL OR h.key = k.key)
        ORDER BY h.id) AS holds,
    EXISTS (
        SELECT FROM erasures AS e WHERE e.key = k.key AND e.acknowledged_at IS NOT NULL AND e.removed_at IS NULL
    ) AS is_going_on,
    EXISTS (
        SELECT FROM erasures AS e WHERE e.key = k.key AND e.removed_at IS NOT NULL
    ) AS is_retained,
    history.entries, history.retain_until,
    ((coalesce(c.latest_ret_at, (SELECT max(e.ended_at) FROM erasures AS e WHERE e.key = k.key))
        + make_interval(years => %(years)s)) AT TIME ZONE 'UTC')::date AS evidence_until
FROM unnest(%(keys)s::text[]) AS k (key)
LEFT JOIN consents AS c ON c.key = k.key
CROSS JOIN LATERAL (
    SELECT count(*) AS entries, max(m.customer_id) AS customer_id, max(r.retain_until) AS retain_until
    FROM history AS m
    JOIN history_months AS r ON r.month = date_trunc('month', m.recorded_at AT TIME ZONE 'UTC')
    WHERE hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
) AS history
ORDER BY k.key

-- name: take-back
-- Take back requests for these keys that the order stage has not answered: they are made again.
DELETE FROM erasures WHERE key = ANY(%(keys)s) AND acknowledged_at IS NULL

-- name: request
-- Request the erasure of keys; returns the number of each.
INSERT INTO erasures (customer_id, key, event_id, requested_at, check_at)
SELECT n.customer_id, n.key, n.event_id, %(now)s, %(now)s
FROM unnest(%(customers)s::text[], %(keys)s::text[], %(event_ids)s::text[]) AS n (customer_id, key, event_id)
RETURNING id, key, event_id

-- name: of-keys
-- The erasures of these keys of which something is left.
SELECT id, key FROM erasures WHERE key = ANY(%(keys)s) ORDER BY id

-- name: acknowledge
-- Note that everything that was decided before these erasures is in the ledger; again, where the events before them were
-- decided again. One that the ledger does not have (it was lost since) is added. A row of a later event is not the last
-- one's: an opt-out may be stored ahead of the erasure.
INSERT INTO erasures (customer_id, key, event_id, requested_at, check_at, acknowledged_at, last_event_id)
SELECT n.customer_id, n.key, n.event_id, n.requested_at, %(now)s, %(now)s,
    CASE
        WHEN n.is_last AND NOT EXISTS (SELECT FROM consents AS c WHERE c.key = n.key AND c.desired_at > n.requested_at)
            THEN (SELECT c.desired_event_id FROM consents AS c WHERE c.key = n.key)
        ELSE ''
    END
FROM unnest(%(customers)s::text[], %(keys)s::text[], %(event_ids)s::text[], %(requested)s::timestamptz[],
    %(are_last)s::boolean[]) AS n (customer_id, key, event_id, requested_at, is_last)
ON CONFLICT (event_id) DO UPDATE
    SET acknowledged_at = excluded.acknowledged_at, last_event_id = excluded.last_event_id, removed_at = NULL,
        check_at = excluded.check_at
    WHERE erasures.erased_at IS NULL

-- name: to-remove
-- Erasures whose rows can be removed, or that wait for what is owed to İYS, the earliest first.
SELECT id, key, customer_id, last_event_id FROM erasures
WHERE key IS NOT NULL AND acknowledged_at IS NOT NULL AND removed_at IS NULL AND check_at <= %(now)s
ORDER BY check_at, id LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: rows
-- The rows of these keys, locked: whether something is owed to İYS, and which event was the last.
SELECT c.key, c.customer_id, c.desired_event_id, is_owed(c) OR is_held(c.customer_id, c.key) AS must_wait, c.latest_ret_at
FROM consents AS c WHERE c.key = ANY(%(keys)s)
ORDER BY c.key FOR UPDATE

-- name: wait
-- Look again later.
UPDATE erasures SET check_at = %(at)s WHERE id = ANY(%(ids)s)

-- name: remove-items
-- Remove the items of keys. The history has their calls and answers.
DELETE FROM submission_items WHERE key = ANY(%(keys)s)

-- name: remove-retailers
-- Remove the retailers that might use the consents of keys.
DELETE FROM retailer_access WHERE key = ANY(%(keys)s)

-- name: remove-resends
-- Send nothing about keys again. A resend of chosen keys that loses all of them has none left, and not every one.
WITH opt_outs AS (DELETE FROM resend_opt_outs WHERE key = ANY(%(keys)s))
UPDATE resends SET keys = ARRAY(SELECT k.key FROM unnest(keys) AS k (key) WHERE k.key <> ALL(%(keys)s))
WHERE finished_at IS NULL AND keys && %(keys)s

-- name: remove-sweeps
-- Move the cursors of sweeps off keys, to the one before: its page is repeated.
UPDATE sweeps AS s SET after = coalesce((
    SELECT max(c.key) FROM consents AS c
    WHERE c.brand_code = s.brand_code AND c.key > s.brand_code || '/' AND c.key < s.after
        AND c.key <> ALL(%(keys)s)), s.brand_code || '/')
WHERE s.after = ANY(%(keys)s)

-- name: remove-via
-- Remove the requests for a consent of keys.
DELETE FROM via_requests WHERE keys && %(keys)s

-- name: remove-consents
-- Remove the rows of keys.
DELETE FROM consents WHERE key = ANY(%(keys)s)

-- name: removed
-- Note that the rows are gone, and when the consents ended.
UPDATE erasures AS e SET removed_at = %(now)s, check_at = %(now)s, ended_at = coalesce(n.ended_at, e.ended_at)
FROM unnest(%(ids)s::bigint[], %(ended)s::timestamptz[]) AS n (id, ended_at)
WHERE e.id = n.id

-- name: retained
-- Erasures whose history may have rows that are no longer retained, the earliest first.
SELECT id, key, customer_id, removed_at FROM erasures
WHERE key IS NOT NULL AND acknowledged_at IS NOT NULL AND removed_at IS NOT NULL AND check_at <= %(now)s
ORDER BY check_at, id LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: history
-- The rows of the history of these erasures, and until when each is retained by its month, by the end of the consent or by
-- a legal hold. Where the key is known again, only what was recorded before is concerned.
SELECT e.id AS erasure, m.shard, m.place, m.salt, m.kind, m.customer_id, m.key, m.event_id, m.status, m.source,
    (extract(epoch FROM m.occurred_at) * 1000000)::bigint AS occurred,
    (extract(epoch FROM m.recorded_at) * 1000000)::bigint AS recorded, m.data::text AS data, m.decision,
    greatest(
        r.retain_until, ((e.ended_at + make_interval(years => %(years)s)) AT TIME ZONE 'UTC')::date) AS retain_until,
    is_held(m.customer_id, m.key) AS is_held
FROM erasures AS e
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(e.key, 0) AND m.key = e.key
JOIN history_months AS r ON r.month = date_trunc('month', m.recorded_at AT TIME ZONE 'UTC')
WHERE e.id = ANY(%(ids)s)
    AND (m.recorded_at <= e.removed_at OR NOT EXISTS (SELECT FROM consents AS c WHERE c.key = e.key))

-- name: deliveries
-- The deliveries to subscribers of these erasures, and until when each is retained, as the history is.
SELECT e.id AS erasure, d.batch, d.place,
    greatest(
        r.retain_until, ((e.ended_at + make_interval(years => %(years)s)) AT TIME ZONE 'UTC')::date) AS retain_until,
    is_held(d.customer_id, d.key) AS is_held
FROM erasures AS e
JOIN deliveries AS d ON hashtextextended(d.key, 0) = hashtextextended(e.key, 0) AND d.key = e.key
JOIN history_months AS r ON r.month = date_trunc('month', d.recorded_at AT TIME ZONE 'UTC')
WHERE e.id = ANY(%(ids)s)
    AND (d.recorded_at <= e.removed_at OR NOT EXISTS (SELECT FROM consents AS c WHERE c.key = e.key))

-- name: erase-deliveries
-- Erase deliveries: whom they concern goes, and the commitments that their digests are verified by stay.
UPDATE deliveries AS d SET key = NULL, webhook_id = NULL, salt = NULL
FROM unnest(%(batches)s::bigint[], %(places)s::integer[]) AS e (batch, place)
WHERE (d.batch, d.place) = (e.batch, e.place) AND d.key IS NOT NULL

-- name: erase-history
-- Erase rows of the history.
SELECT erase_history(%(keys)s, %(shards)s, %(places)s, %(commitments)s, %(now)s) AS erased

-- name: erased
-- Note that nothing is left of these keys.
UPDATE erasures SET key = NULL, last_event_id = NULL, erased_at = %(now)s WHERE id = ANY(%(ids)s)

-- name: progress
-- How many erasures are how far, of a customer or of all.
SELECT count(*) FILTER (WHERE acknowledged_at IS NULL) AS requested,
    count(*) FILTER (WHERE acknowledged_at IS NOT NULL AND removed_at IS NULL) AS waiting,
    count(*) FILTER (WHERE removed_at IS NOT NULL AND erased_at IS NULL) AS retained,
    count(*) FILTER (WHERE erased_at IS NOT NULL) AS erased
FROM erasures WHERE %(customer_id)s::text IS NULL OR customer_id = %(customer_id)s

-- name: list
-- Erasures that have not ended, the earliest first.
SELECT id, customer_id, requested_at, acknowledged_at, removed_at, check_at FROM erasures
WHERE erased_at IS NULL ORDER BY id

-- name: submissions
-- The calls to İYS of these keys that are still stored.
SELECT i.key, i.submission_id, s.kind, i.status, i.consent_date, i.source, i.state, i.code, s.request_id, s.intended_at,
    s.settled_at
FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = ANY(%(keys)s) ORDER BY s.intended_at, i.submission_id, i.index
