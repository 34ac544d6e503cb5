-- name: intend
-- What is about to be told, word for word, before it is told.
INSERT INTO submissions (customer_id, brand_code, kind, body, state, lease_owner, lease_until, intended_at, refusals)
VALUES (%(customer_id)s, %(brand_code)s, %(kind)s, %(body)s, 'intent', %(owner)s, %(lease_until)s, %(now)s,
    %(refusals)s)
RETURNING id

-- name: intend-items
-- Its items, in the order of the body.
COPY submission_items (submission_id, index, customer_id, key, event_id, status, consent_date, source, attempt, origin,
    origin_ref, state) FROM STDIN (FORMAT binary)

-- name: items
-- The items of a submission that are not settled yet.
SELECT index, customer_id, key, event_id, status, consent_date, source, attempt, origin, origin_ref
FROM submission_items WHERE submission_id = %(id)s AND state = 'open' ORDER BY index

-- name: acknowledge
-- İYS took a batch in: its request id, and each item's, before anything else. No row: it was not under way.
UPDATE submissions SET state = 'awaiting_result', request_id = %(request_id)s,
    sub_request_ids = %(sub_request_ids)s, answered_at = %(now)s, next_poll_at = %(next_poll_at)s, polls = 0, lease_owner = NULL, lease_until = NULL
WHERE id = %(id)s AND state IN ('intent', 'unknown')
RETURNING id

-- name: settle-items
-- What became of items. One that is settled already is left out of the answer: its answer was counted before.
UPDATE submission_items SET state = %(state)s, code = %(code)s
WHERE submission_id = %(id)s AND index = ANY(%(places)s) AND state = 'open'
RETURNING index

-- name: settle
-- A submission without open items is settled.
UPDATE submissions AS s SET state = 'settled', settled_at = %(now)s, lease_owner = NULL, lease_until = NULL,
    answered_at = coalesce(s.answered_at, %(now)s), code = coalesce(%(code)s, s.code)
WHERE s.id = %(id)s AND s.state <> 'settled'
    AND NOT EXISTS (
        SELECT 1 FROM submission_items AS i WHERE i.submission_id = s.id AND i.state = 'open')
RETURNING id

-- name: mark-unknown
-- Told, and no answer came: to be asked about, or said again word for word. Whoever was paused and wakes late
-- changes nothing of what another process tells meanwhile.
UPDATE submissions SET state = 'unknown', lease_owner = NULL, lease_until = NULL, next_poll_at = %(next_poll_at)s
WHERE id = %(id)s AND state IN ('intent', 'unknown') AND lease_owner = %(owner)s
RETURNING id

-- name: renew
-- Still ours, and about to be told after a long wait for its turn. No row: another process has taken it up.
UPDATE submissions SET lease_until = %(lease_until)s
WHERE id = %(id)s AND lease_owner = %(owner)s AND state IN ('intent', 'unknown')
RETURNING id

-- name: renew-all
-- What a living process is just telling or asking about, while it waits for its turn.
UPDATE submissions SET lease_until = %(lease_until)s
WHERE id = ANY(%(ids)s) AND lease_owner = %(owner)s AND lease_until IS NOT NULL AND state <> 'settled'

-- name: claim-unanswered
-- One submission without an answer whose process is gone or has let go of it: its lease has run out, or the
-- process's own lock (held as long as it lives) is free.
SELECT s.*
FROM submissions AS s
JOIN brands AS b ON b.brand_code = s.brand_code AND is_served_by(b, %(account)s, %(address)s)
WHERE s.state IN ('intent', 'unknown') AND s.kind = ANY(%(kinds)s)
    AND (s.next_poll_at IS NULL OR s.next_poll_at <= %(now)s)
    AND (s.lease_until IS NULL OR s.lease_until <= %(now)s OR s.lease_owner <> %(owner)s AND NOT EXISTS (
        SELECT 1 FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
            AND l.classid::bigint = %(lock_class)s AND l.objid::bigint = s.lease_owner::bigint))
ORDER BY EXISTS (
        SELECT 1 FROM submission_items AS i
        WHERE i.submission_id = s.id AND i.state = 'open' AND i.status = 'RET') DESC, s.id
LIMIT 1
FOR UPDATE OF s SKIP LOCKED

-- name: resend
-- It is about to be said once more, word for word, by this process.
UPDATE submissions SET sends = sends + 1, lease_owner = %(owner)s, lease_until = %(lease_until)s,
    next_poll_at = NULL
WHERE id = %(id)s AND state IN ('intent', 'unknown') AND lease_owner = %(owner)s
RETURNING id

-- name: claim-results
-- One batch whose result may be asked for.
SELECT s.*
FROM submissions AS s
JOIN brands AS b ON b.brand_code = s.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(address)s)
WHERE s.state = 'awaiting_result' AND s.next_poll_at <= %(now)s
    AND (s.lease_until IS NULL OR s.lease_until <= %(now)s)
ORDER BY s.next_poll_at, s.id
LIMIT 1
FOR UPDATE OF s SKIP LOCKED

-- name: lease
-- Held while it is asked about.
UPDATE submissions SET lease_owner = %(owner)s, lease_until = %(lease_until)s WHERE id = %(id)s

-- name: poll-later
-- Not decided yet: to be asked about later.
UPDATE submissions SET polls = polls + 1, next_poll_at = %(next_poll_at)s,
    lease_owner = NULL, lease_until = NULL
WHERE id = %(id)s AND state IN ('awaiting_result', 'intent', 'unknown') AND lease_owner = %(owner)s
RETURNING id

-- name: submitted-by-us
-- Which of these movements at İYS we told: same key, status and consent date.
SELECT DISTINCT m.place
FROM unnest(%(keys)s::text[], %(statuses)s::text[], %(consent_dates)s::timestamptz[])
    WITH ORDINALITY AS m (key, status, consent_date, place)
JOIN submission_items AS i
    ON i.key = m.key AND i.status = m.status AND i.consent_date IS NOT DISTINCT FROM m.consent_date

-- name: release
-- A process that stops lets go of what it holds.
UPDATE submissions SET lease_until = %(now)s WHERE lease_owner = %(owner)s AND lease_until > %(now)s

-- name: waiting
-- What is told and not settled, by state.
SELECT state, count(*) AS submissions, min(intended_at) AS oldest FROM submissions
WHERE state <> 'settled' GROUP BY state
