-- name: settled
-- Submissions that settled before an instant, the earliest first, after a place in that order.
SELECT id, settled_at FROM submissions
WHERE state = 'settled' AND settled_at < %(before)s AND (settled_at, id) > (%(after)s, %(after_id)s)
ORDER BY settled_at, id LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: kept
-- Which of these submissions stay: under a legal hold, or with an item that is open or whose call or answer the history
-- does not have. A withdrawn item has no answer: it was submitted again, or no reply ever came.
SELECT * FROM (
    SELECT s.id,
        EXISTS (
            SELECT FROM legal_holds AS h
            WHERE h.released_at IS NULL AND (h.key IS NULL AND h.customer_id = s.customer_id OR EXISTS (
                SELECT FROM submission_items AS i
                WHERE i.submission_id = s.id AND h.customer_id = i.customer_id AND (h.key IS NULL OR h.key = i.key)))
        ) AS is_held,
        EXISTS (
            SELECT FROM submission_items AS i
            CROSS JOIN LATERAL (VALUES ('call', true), ('answer', i.state <> 'withdrawn')) AS fact (name, is_due)
            WHERE i.submission_id = s.id AND (i.state = 'open' OR fact.is_due AND NOT EXISTS (
                SELECT FROM history AS m
                WHERE hashtextextended(m.key, 0) = hashtextextended(i.key, 0) AND m.key = i.key
                    AND m.recorded_at >= s.intended_at - interval '1 day'
                    AND m.source = concat_ws('/', 'submission', s.id, i.index, fact.name)))
        ) AS is_unrecorded
    FROM submissions AS s WHERE s.id = ANY(%(ids)s)
) AS found WHERE is_held OR is_unrecorded

-- name: delete-items
-- Delete the items of submissions.
DELETE FROM submission_items WHERE submission_id = ANY(%(ids)s)

-- name: delete-submissions
-- Delete submissions, whose items are deleted in the same transaction.
DELETE FROM submissions WHERE id = ANY(%(ids)s)

-- name: delete-rate_limit_hours
-- Delete hours before an instant, so many at most.
DELETE FROM rate_limit_hours WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM rate_limit_hours WHERE hour < %(before)s LIMIT %(size)s))

-- name: delete-legal_holds
-- Delete legal holds that were released before an instant, so many at most.
DELETE FROM legal_holds WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM legal_holds WHERE released_at < %(before)s LIMIT %(size)s))

-- name: delete-delivery_attempts
-- Delete failed attempts before an instant, so many at most.
DELETE FROM delivery_attempts WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM delivery_attempts WHERE failed_at < %(before)s LIMIT %(size)s))

-- name: delete-recent_opt_outs
-- Delete opt-outs that were noted before an instant, so many at most.
DELETE FROM recent_opt_outs WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM recent_opt_outs WHERE noted_at < %(before)s LIMIT %(size)s))

-- name: delete-via_requests
-- Delete requests for consent of before an instant, so many at most.
DELETE FROM via_requests WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM via_requests WHERE requested_at < %(before)s LIMIT %(size)s))

-- name: delete-complaints
-- Delete complaints that were closed before an instant, so many at most.
DELETE FROM complaints WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM complaints WHERE closed_at < %(before)s LIMIT %(size)s))
