-- name: open-work
-- Which kinds of work are open: whatever a process may claim now, or will by itself later, is of one of them, and kinds
-- that have nothing open need not be looked at. Each is read in the order of its index, which answers with the first.
SELECT kind FROM unnest(ARRAY[
    (SELECT 'unread' FROM submissions WHERE state = 'awaiting_result' ORDER BY next_poll_at LIMIT 1),
    (SELECT 'unanswered' FROM submissions WHERE state IN ('intent', 'unknown') ORDER BY lease_until LIMIT 1),
    (SELECT 'sendable' FROM consents
        WHERE state IN ('pending', 'retryable') AND action = 'send' AND brake_id IS NULL
        ORDER BY brand_code, channel, desired_status, due_at LIMIT 1),
    (SELECT 'expiring' FROM consents
        WHERE state IN ('pending', 'retryable') AND desired_status = 'ONAY'
            AND expires_at <= %(now)s::timestamptz + interval '1 hour'
        ORDER BY expires_at LIMIT 1),
    (SELECT 'held back' FROM consents WHERE brake_id IS NOT NULL ORDER BY due_at LIMIT 1),
    (SELECT 'to query' FROM consents
        WHERE action = 'query' AND NOT onay_open AND NOT ret_open
        ORDER BY brand_code, channel, recipient_type, next_attempt_at LIMIT 1),
    (SELECT 'requests' FROM via_requests WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1)
]) AS open_work (kind)
WHERE kind IS NOT NULL

-- name: claimable-channels
-- The brands and channels with records to submit, and when the first of each is due; without those whose suspension
-- allows no try yet.
SELECT b.customer_id, b.brand_code, lane.channel, first.due_at
FROM brands AS b
CROSS JOIN unnest(ARRAY['ARAMA', 'MESAJ', 'EPOSTA']) AS lane (channel)
CROSS JOIN LATERAL (
        SELECT c.due_at FROM consents AS c
        WHERE c.brand_code = b.brand_code AND c.channel = lane.channel
            AND c.desired_status = %(status)s AND is_sendable(c, %(now)s, (SELECT living()))
        ORDER BY c.due_at LIMIT 1
    ) AS first
WHERE b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = b.brand_code AND covers(s, lane.channel, %(status)s)
            AND is_closed(s, %(now)s)
    )
ORDER BY b.brand_code, lane.channel

-- name: claim
-- Claim records of one brand, channel and status that may be submitted now, the earliest due first; rows that another
-- process has locked are skipped. A RET may overtake an unsettled ONAY of its key where İYS may show ONAY. Two
-- movements of a key are a second apart, for within one second İYS gives both one transaction id. Records past their
-- third business day by the strict reading are submitted separately, so that İYS's reading of it affects no others.
-- `of_onay`: only those for which İYS may show ONAY, or only the others; null: any.
SELECT c.ctid::text, {claimed:c}
FROM consents AS c
WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = %(status)s
    AND coalesce(may_show_onay(c) = %(of_onay)s, true) AND is_sendable(c, %(now)s, (SELECT living()))
    AND (c.desired_status = 'RET' OR coalesce(c.due_at < %(now)s, false) = %(overdue)s)
ORDER BY c.due_at
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: opt-outs-waiting
-- How many opt-outs of a brand and channel wait for which İYS may show ONAY, and how many of which is not known whether
-- it holds anything, counted up to a maximum; whether any wait for which it shows no ONAY; and whether any was restored
-- from desired-consents, for each of those is queried first.
SELECT
    (SELECT count(*) FROM (
        SELECT 1 FROM consents AS c
        WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
            AND may_show_onay(c) AND is_sendable(c, %(now)s, (SELECT living()))
        LIMIT %(most)s) AS a) AS of_onay,
    (SELECT count(*) FROM (
        SELECT 1 FROM consents AS c
        WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
            AND c.registered = 'UNKNOWN' AND NOT c.onay_open AND is_sendable(c, %(now)s, (SELECT living()))
        LIMIT %(most)s) AS u) AS of_unknown,
    EXISTS (
        SELECT 1 FROM consents AS c
        WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
            AND NOT may_show_onay(c) AND is_sendable(c, %(now)s, (SELECT living()))) AS has_others,
    (SELECT coalesce(bool_or(verified_by = 'bootstrap'), false) FROM (SELECT c.verified_by FROM consents AS c
        WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
            AND c.registered = 'UNKNOWN' AND NOT c.onay_open AND is_sendable(c, %(now)s, (SELECT living()))
        LIMIT %(most)s) AS l) AS has_lost

-- name: claim-unknown
-- Claim opt-outs of which is not known whether İYS holds anything: the status is queried before they are submitted.
SELECT * FROM consents AS c
WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
    AND c.recipient_type = %(recipient_type)s AND c.registered = 'UNKNOWN' AND NOT c.onay_open
    AND is_sendable(c, %(now)s, (SELECT living()))
ORDER BY c.due_at
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: claim-last-hour
-- Claim ONAYs whose term ends within the hour: submitted one by one, for the result of a batch would come too late.
SELECT c.ctid::text, {claimed:c}
FROM consents AS c
JOIN brands AS b ON b.brand_code = c.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(addresses)s::text[])
WHERE c.desired_status = 'ONAY' AND c.expires_at BETWEEN %(now)s AND %(until)s
    AND is_sendable(c, %(now)s, (SELECT living()))
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = c.brand_code AND covers(s, c.channel, 'ONAY') AND is_closed(s, %(now)s))
ORDER BY c.expires_at, c.key
LIMIT %(size)s
FOR UPDATE OF c SKIP LOCKED

-- name: claim-rows
-- Put rows that this transaction has claimed in flight. They are found by ctid, which stays valid while they are
-- locked. Neither permission nor outcome depends on this.
UPDATE consents SET state = 'in_flight', action = 'nothing', reason = NULL, attempts = attempts + 1,
    next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL, last_exchange_at = %(now)s, updated_at = %(now)s,
    onay_open = onay_open OR desired_status = 'ONAY', ret_open = ret_open OR desired_status = 'RET'
WHERE ctid = ANY(%(places)s::tid[]) AND state IN ('pending', 'retryable')

-- name: claim-expired
-- Claim ONAYs whose term has ended before they were submitted: they expire, and a new consent is needed. What İYS is
-- queried for first waits for its answer.
SELECT * FROM consents
WHERE state IN ('pending', 'retryable') AND desired_status = 'ONAY' AND expires_at < %(now)s
    AND NOT onay_open AND action <> 'query'
ORDER BY expires_at, key
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: to-query
-- How many records must be queried, in groups that one call can query, opt-outs first. Brands whose account or provider
-- is suspended are left out until the next try, and those that a person has suspended; so is what a sweep could not
-- settle, which has a lane of its own, and channels that may not be read.
SELECT c.brand_code, c.channel, c.recipient_type, count(*) AS waiting
FROM consents AS c JOIN brands AS b ON b.brand_code = c.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(addresses)s::text[])
WHERE is_queryable(c, %(now)s, (SELECT living())) AND NOT is_swept(c)
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = c.brand_code AND s.status = '*' AND (
            s.scope IN ('account', 'provider') AND s.recheck_at > %(now)s OR s.channel = '*' AND s.recheck_at IS NULL))
    AND NOT EXISTS (SELECT FROM unreadable_channels AS u WHERE u.brand_code = c.brand_code AND u.channel = c.channel)
GROUP BY c.brand_code, c.channel, c.recipient_type
ORDER BY max(c.desired_status) DESC NULLS LAST, c.brand_code, c.channel, c.recipient_type

-- name: claim-to-query
-- Claim records whose status must be queried, of one brand, channel and recipient type.
SELECT * FROM consents AS c
WHERE brand_code = %(brand_code)s AND channel = %(channel)s AND recipient_type = %(recipient_type)s
    AND is_queryable(c, %(now)s, (SELECT living())) AND NOT is_swept(c)
ORDER BY next_attempt_at NULLS FIRST, key
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: swept
-- The group of the record whose own query comes next, for a sweep could not settle it: a gate that it shut goes first.
SELECT c.brand_code, c.channel, c.recipient_type
FROM consents AS c JOIN brands AS b ON b.brand_code = c.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(addresses)s::text[])
WHERE is_swept(c) AND is_queryable(c, %(now)s, (SELECT living()))
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = c.brand_code AND s.status = '*' AND (
            s.scope IN ('account', 'provider') AND s.recheck_at > %(now)s OR s.channel = '*' AND s.recheck_at IS NULL))
    AND NOT EXISTS (SELECT FROM unreadable_channels AS u WHERE u.brand_code = c.brand_code AND u.channel = c.channel)
ORDER BY (c.registered <> 'NOT_ONAY'), c.next_attempt_at
LIMIT 1

-- name: claim-swept
-- Claim such records, of one brand, channel and recipient type.
SELECT * FROM consents AS c
WHERE brand_code = %(brand_code)s AND channel = %(channel)s AND recipient_type = %(recipient_type)s
    AND is_swept(c) AND is_queryable(c, %(now)s, (SELECT living()))
ORDER BY (c.registered <> 'NOT_ONAY'), c.next_attempt_at
LIMIT %(size)s
FOR UPDATE SKIP LOCKED
