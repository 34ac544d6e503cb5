-- name: intend
-- Store a submission with its exact body, before it is sent.
INSERT INTO submissions (customer_id, brand_code, kind, body, state, lease_owner, lease_until, intended_at, refusals,
    call_until)
VALUES (%(customer_id)s, %(brand_code)s, %(kind)s, %(body)s, 'intent', %(owner)s, %(lease_until)s, %(now)s,
    %(refusals)s, %(call_until)s)
RETURNING id

-- name: intend-items
-- Store its items, in the order of the body.
COPY submission_items (submission_id, index, customer_id, key, event_id, status, consent_date, source, attempt, origin,
    origin_ref, state) FROM STDIN (FORMAT binary)

-- name: items
-- The items of a submission that are not settled yet.
SELECT index, customer_id, key, event_id, status, consent_date, source, attempt, origin, origin_ref
FROM submission_items WHERE submission_id = %(id)s AND state = 'open' ORDER BY index

-- name: withdrawn-items
-- The items of a submission that were given up without an answer.
SELECT index FROM submission_items WHERE submission_id = %(id)s AND state = 'withdrawn' AND code IS NULL

-- name: opt-ins-of-unknown-outcome
-- The keys of which an opt-in was given up without an answer, though a call of it may have been written, and until when.
SELECT i.key, max(s.call_until) AS call_until FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = ANY(%(keys)s) AND i.status = 'ONAY' AND i.state = 'withdrawn' AND i.code IS NULL
    AND s.call_until > %(since)s
GROUP BY i.key

-- name: acknowledge
-- İYS has acknowledged a batch: store its request id and the ids of its items. No row: it was not in flight.
UPDATE submissions SET state = 'awaiting_result', request_id = %(request_id)s,
    sub_request_ids = %(sub_request_ids)s, answered_at = %(now)s, next_poll_at = %(next_poll_at)s,
    polls = 0, lease_owner = NULL, lease_until = NULL
WHERE id = %(id)s AND state IN ('intent', 'unknown')
RETURNING id

-- name: settle-items
-- Settle items. One that is settled already is missing in the result: its result was counted before.
UPDATE submission_items SET state = %(state)s, code = %(code)s
WHERE submission_id = %(id)s AND index = ANY(%(places)s) AND state = 'open'
RETURNING index

-- name: settle
-- Settle a submission without open items.
UPDATE submissions AS s SET state = 'settled', settled_at = %(now)s, lease_owner = NULL, lease_until = NULL,
    answered_at = coalesce(s.answered_at, %(now)s), body = NULL
WHERE s.id = %(id)s AND s.state <> 'settled'
    AND NOT EXISTS (
        SELECT 1 FROM submission_items AS i WHERE i.submission_id = s.id AND i.state = 'open')
RETURNING id

-- name: mark-unknown
-- No answer came to a call: the submission is to be recovered. A process that was paused and resumes late changes
-- nothing that was claimed again meanwhile.
UPDATE submissions SET state = 'unknown', lease_until = NULL, next_poll_at = %(next_poll_at)s,
    call_until = least(call_until, %(now)s)
WHERE id = %(id)s AND state IN ('intent', 'unknown') AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s
RETURNING id

-- name: held
-- Whether a submission without an answer was not claimed again meanwhile; nobody can until the transaction ends.
SELECT 1 FROM submissions
WHERE id = %(id)s AND state IN ('intent', 'unknown') AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s
FOR UPDATE

-- name: check
-- Just before a call is written: extend the lease, and note by when the call is over, unless the brand may not submit any
-- more or items may have changed: an opt-in that is no longer desired, is over its term, or beside which İYS shows a RET;
-- an opt-out in whose place an opt-in is desired. No row: the submission was claimed again. What was freed is read from
-- the row itself, which is locked: nothing is freed once the call is noted.
UPDATE submissions AS s SET lease_until = %(lease_until)s,
    call_until = CASE WHEN f.is_open AND f.doubtful IS NULL AND NOT s.is_freed THEN %(call_until)s ELSE s.call_until END
FROM (
    SELECT q.id,
        b.status = 'active' AND NOT EXISTS (
            SELECT 1 FROM suspensions AS p
            WHERE p.brand_code = q.brand_code AND covers(p, %(channel)s, %(status)s) AND p.recheck_at IS NULL
        ) AS is_open,
        (
            SELECT array_agg(i.index) FROM submission_items AS i JOIN consents AS c USING (key)
            WHERE i.submission_id = q.id AND i.state = 'open' AND (
                c.desired_status IS DISTINCT FROM i.status
                OR i.status = 'ONAY' AND (c.desired_event_id <> i.event_id OR c.registered = 'RET'
                    OR coalesce(c.expires_at < %(now)s, false)))
        ) AS doubtful
    FROM submissions AS q JOIN brands AS b USING (brand_code)
    WHERE q.id = %(id)s
) AS f
WHERE s.id = f.id AND s.lease_owner = %(owner)s AND s.lease_epoch = %(epoch)s AND s.state IN ('intent', 'unknown')
RETURNING f.is_open, s.is_freed, coalesce(f.doubtful, '{}') AS doubtful

-- name: call
-- A call is written now: note by when it is over.
UPDATE submissions SET call_until = %(call_until)s
WHERE id = %(id)s AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s

-- name: renew-all
-- Extend the leases of the submissions that a living process is sending or polling.
UPDATE submissions SET lease_until = %(lease_until)s
WHERE id = ANY(%(ids)s) AND lease_owner = %(owner)s AND lease_until IS NOT NULL AND state <> 'settled'

-- name: to-free
-- A submission that was never called, though it may wait for its slot, and its opt-ins for which opt-outs wait.
SELECT s.*, f.places
FROM submissions AS s
JOIN awaited_by_opt_outs() AS o ON o.id = s.id
JOIN brands AS b ON b.brand_code = s.brand_code AND is_served_by(b, %(account)s, %(addresses)s::text[])
CROSS JOIN LATERAL (
    SELECT array_agg(i.index) AS places FROM submission_items AS i JOIN consents AS c USING (key)
    WHERE i.submission_id = s.id AND i.state = 'open' AND c.desired_status = 'RET' AND c.action = 'wait'
) AS f
WHERE s.state = 'intent' AND s.call_until IS NULL AND f.places IS NOT NULL
ORDER BY s.id
LIMIT 1
FOR UPDATE OF s SKIP LOCKED

-- name: free
-- Note that items were taken out of it.
UPDATE submissions SET is_freed = true WHERE id = %(id)s

-- name: claim-unanswered
-- Claim one submission without an answer whose process is gone or has released it: its lease has expired, or the
-- advisory lock of the process (held as long as it lives) is free. A call of it that may still be on its way is waited
-- for; an opt-out is asked about and repeated at once, which harms nothing. Who has lost the call, or is answered nothing
-- by İYS, leaves it to others at first: its network to İYS may be at fault. The items of a submission have one status, so the first open one is enough:
-- a hundred batches may wait here. Opt-outs come first, then what opt-outs wait for.
SELECT s.*
FROM submissions AS s
JOIN brands AS b ON b.brand_code = s.brand_code AND is_served_by(b, %(account)s, %(addresses)s::text[])
LEFT JOIN LATERAL (
    SELECT i.status FROM submission_items AS i WHERE i.submission_id = s.id AND i.state = 'open' ORDER BY i.index LIMIT 1
) AS first ON true
WHERE s.state IN ('intent', 'unknown') AND s.kind = ANY(%(kinds)s)
    AND (first.status = 'RET' OR NOT %(opt_outs_only)s
        OR s.call_until IS NOT NULL AND s.id IN (SELECT o.id FROM awaited_by_opt_outs() AS o))
    AND (s.next_poll_at IS NULL OR s.next_poll_at <= %(now)s)
    AND is_free(s, %(owner)s, %(now)s)
    AND (s.call_until IS NULL OR s.call_until <= %(now)s OR first.status IS DISTINCT FROM 'ONAY')
    AND (NOT %(is_silent)s AND (s.lease_until IS NOT NULL OR s.lease_owner IS DISTINCT FROM %(owner)s)
        OR coalesce(s.next_poll_at, s.intended_at) <= %(lost_before)s OR is_alone(%(owner)s))
ORDER BY first.status DESC NULLS LAST, s.id IN (SELECT o.id FROM awaited_by_opt_outs() AS o) DESC, s.id
LIMIT 1
FOR UPDATE OF s SKIP LOCKED

-- name: resend
-- The same body is about to be sent once more by this process.
UPDATE submissions SET sends = sends + 1, lease_owner = %(owner)s, lease_until = %(lease_until)s,
    next_poll_at = NULL
WHERE id = %(id)s AND state IN ('intent', 'unknown') AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s
RETURNING id

-- name: claim-results
-- Claim one batch whose result is due to be polled, what opt-outs wait for first.
SELECT s.*, o.id IS NOT NULL AS is_awaited
FROM submissions AS s
LEFT JOIN awaited_by_opt_outs() AS o ON o.id = s.id
JOIN brands AS b ON b.brand_code = s.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(addresses)s::text[])
WHERE s.state = 'awaiting_result' AND s.next_poll_at <= %(now)s AND (o.id IS NOT NULL OR NOT %(opt_outs_only)s)
    AND is_free(s, %(owner)s, %(now)s)
ORDER BY is_awaited DESC, s.next_poll_at, s.id
LIMIT 1
FOR UPDATE OF s SKIP LOCKED

-- name: hasten-results
-- Poll soon what opt-outs wait for, however long after many polls without a result the next one would be.
UPDATE submissions SET next_poll_at = %(soon)s WHERE id IN (
    SELECT s.id FROM submissions AS s JOIN awaited_by_opt_outs() AS o ON o.id = s.id
    WHERE s.state = 'awaiting_result' AND s.polls > 0 AND s.next_poll_at > %(soon)s
    FOR UPDATE OF s SKIP LOCKED)

-- name: lease
-- Lease a submission while it is polled or recovered.
UPDATE submissions SET lease_owner = %(owner)s, lease_until = %(lease_until)s, lease_epoch = lease_epoch + 1
WHERE id = %(id)s
RETURNING lease_epoch

-- name: poll-later
-- İYS has no result yet: poll again later.
UPDATE submissions SET polls = polls + 1, next_poll_at = %(next_poll_at)s,
    lease_owner = NULL, lease_until = NULL
WHERE id = %(id)s AND state IN ('awaiting_result', 'intent', 'unknown')
    AND lease_owner = %(owner)s AND lease_epoch = %(epoch)s
RETURNING id

-- name: submitted-by-us
-- Which of these movements at İYS we submitted: same key, status and consent date. The items of an erased key are gone,
-- and its calls are in the history.
WITH given AS (
    SELECT * FROM unnest(%(keys)s::text[], %(statuses)s::text[], %(consent_dates)s::timestamptz[])
        WITH ORDINALITY AS m (key, status, consent_date, place)
)
SELECT m.place FROM given AS m JOIN submission_items AS i
    ON i.key = m.key AND i.status = m.status AND i.consent_date IS NOT DISTINCT FROM m.consent_date
UNION
SELECT m.place FROM given AS m
JOIN erasures AS e ON e.key = m.key
JOIN history AS c ON hashtextextended(c.key, 0) = hashtextextended(e.key, 0) AND c.key = e.key AND c.kind = 'call'
    AND c.status = m.status AND (c.data ->> 'consent_date')::timestamptz IS NOT DISTINCT FROM m.consent_date

-- name: release
-- End the leases of a process that stops, or those of its steps that failed.
UPDATE submissions SET lease_until = %(now)s
WHERE lease_owner = %(owner)s AND lease_until > %(now)s
    AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s::bigint[]))
