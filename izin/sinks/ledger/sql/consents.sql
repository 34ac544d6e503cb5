-- name: lock
-- Lock the rows of these keys, always in one order, so that two writers wait and never deadlock.
SELECT * FROM consents WHERE key = ANY(%(keys)s) ORDER BY key FOR UPDATE

-- name: insert
-- Insert new keys. A key that another writer inserted meanwhile is missing in the result.
INSERT INTO consents
SELECT r.* FROM json_populate_recordset(NULL::consents, %(rows)s::json) AS r ORDER BY r.key
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: copy
-- Insert new keys that are due to İYS: first the columns that differ from row to row, then those that many share.
COPY consents ({copied}) FROM STDIN (FORMAT binary)

-- name: save
-- Write rows that were read under lock back whole. A row whose state is not the expected one is missing in the result,
-- and the caller rolls back. Rows and states come side by side: joined by key, each was compared with each as soon as
-- PostgreSQL used a generic plan.
UPDATE consents AS c SET ({saved}) = ({saved:r})
FROM ROWS FROM (json_populate_recordset(NULL::consents, %(rows)s::json), unnest(%(states)s::text[])) AS r
WHERE c.key = r.key AND c.state = r.unnest
RETURNING c.key

-- name: claim-rows
-- Put rows that this transaction has claimed in flight. They are found by ctid, which stays valid while they are
-- locked. Neither permission nor outcome depends on this.
UPDATE consents SET state = 'in_flight', action = 'nothing', reason = NULL, attempts = attempts + 1,
    next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL, last_exchange_at = %(now)s, updated_at = %(now)s,
    onay_open = onay_open OR desired_status = 'ONAY', ret_open = ret_open OR desired_status = 'RET'
WHERE ctid = ANY(%(places)s::tid[]) AND state IN ('pending', 'retryable')

-- name: await-result
-- İYS has acknowledged a batch: its records await their result. A row that a newer event has taken over keeps its
-- state.
WITH locked AS (
    SELECT key, item.event_id FROM unnest(%(keys)s::text[], %(event_ids)s::text[]) AS item (key, event_id)
    JOIN consents AS c USING (key)
    ORDER BY key FOR UPDATE OF c
)
UPDATE consents AS c SET last_exchange_at = %(now)s, updated_at = %(now)s, state = CASE
        WHEN c.state = 'in_flight' AND c.desired_event_id = locked.event_id THEN 'awaiting_result' ELSE c.state END
FROM locked WHERE c.key = locked.key

-- name: lock-for-settling
-- Lock the rows of these keys, always in one order, and read whether an ONAY that İYS has saved is settled in bulk:
-- nothing was registered for the key, there was never a RET, and the event names no retailer.
SELECT ctid::text, key, desired_event_id, desired_at, due_at, expires_at, attempts,
    desired_status = 'ONAY' AND desired_rank = 0 AND state IN ('in_flight', 'awaiting_result', 'unknown')
        AND registered = 'UNKNOWN' AND registered_at IS NULL AND latest_ret_at IS NULL AND NOT ret_open
        AND retailer_code IS NULL AND retailer_access IS NULL AS is_usual
FROM consents WHERE key = ANY(%(keys)s) ORDER BY key FOR UPDATE

-- name: settle-bulk
-- Settle rows that this transaction has locked like the one that was computed in full, each with its own receipt.
UPDATE consents AS c SET registered = %(registered)s, registered_at = own.creation_date,
    registered_consent_date = c.desired_at, registered_source = c.desired_source,
    registered_transaction_id = own.transaction_id, verified_at = %(now)s, verified_by = %(verified_by)s,
    state = %(state)s, action = %(action)s, reason = %(reason)s, code = NULL, next_attempt_at = NULL, onay_open = false,
    last_exchange_at = %(now)s, may_send = %(may_send)s, permission_reason = %(permission_reason)s,
    permission_since = %(now)s, updated_at = %(now)s
FROM json_to_recordset(%(own)s::json) AS own (ctid tid, transaction_id text, creation_date timestamptz)
WHERE c.ctid = own.ctid

-- name: claimable-channels
-- The brands and channels with records to submit, and when the first of each is due; without those whose suspension
-- allows no try yet.
SELECT b.customer_id, b.brand_code, lane.channel, first.due_at
FROM brands AS b
CROSS JOIN unnest(ARRAY['ARAMA', 'MESAJ', 'EPOSTA']) AS lane (channel)
CROSS JOIN LATERAL (
        SELECT c.due_at FROM consents AS c
        WHERE c.brand_code = b.brand_code AND c.channel = lane.channel
            AND c.desired_status = %(status)s AND is_sendable(c, %(now)s)
        ORDER BY c.due_at LIMIT 1
    ) AS first
WHERE b.status = 'active' AND is_served_by(b, %(account)s, %(address)s)
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
SELECT c.ctid::text, {claimed:c}
FROM consents AS c
WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = %(status)s
    AND c.registered = ANY(%(registered)s) AND is_sendable(c, %(now)s)
    AND (c.desired_status = 'RET' OR coalesce(c.due_at < %(now)s, false) = %(overdue)s)
ORDER BY c.due_at
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: opt-outs-waiting
-- How many opt-outs of a brand and channel wait, by what is registered; counted up to a maximum.
SELECT
    (SELECT count(*) FROM (
        SELECT 1 FROM consents AS c
        WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
            AND c.registered = 'ONAY' AND is_sendable(c, %(now)s)
        LIMIT %(most)s) AS a) AS of_onay,
    (SELECT count(*) FROM (
        SELECT 1 FROM consents AS c
        WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
            AND c.registered = 'UNKNOWN' AND NOT c.onay_open AND is_sendable(c, %(now)s)
        LIMIT %(most)s) AS u) AS of_unknown

-- name: claim-unknown
-- Claim opt-outs of which is not known whether İYS holds anything: the status is queried before they are submitted.
SELECT * FROM consents AS c
WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.desired_status = 'RET'
    AND c.recipient_type = %(recipient_type)s AND c.registered = 'UNKNOWN' AND NOT c.onay_open
    AND is_sendable(c, %(now)s)
ORDER BY c.due_at
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: claim-last-hour
-- Claim ONAYs whose term ends within the hour: submitted one by one, for the result of a batch would come too late.
SELECT c.ctid::text, {claimed:c}
FROM consents AS c
JOIN brands AS b ON b.brand_code = c.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(address)s)
WHERE c.desired_status = 'ONAY' AND c.expires_at BETWEEN %(now)s AND %(until)s AND is_sendable(c, %(now)s)
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = c.brand_code AND covers(s, c.channel, 'ONAY') AND is_closed(s, %(now)s))
ORDER BY c.expires_at, c.key
LIMIT %(size)s
FOR UPDATE OF c SKIP LOCKED

-- name: claim-expired
-- Claim ONAYs whose term has ended before they were submitted: they expire, and a new consent is needed.
SELECT * FROM consents
WHERE state IN ('pending', 'retryable') AND desired_status = 'ONAY' AND expires_at < %(now)s
    AND NOT onay_open
ORDER BY expires_at, key
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: claim-to-query
-- Claim records whose status must be queried, of one brand, channel and recipient type.
SELECT * FROM consents AS c
WHERE brand_code = %(brand_code)s AND channel = %(channel)s AND recipient_type = %(recipient_type)s
    AND is_queryable(c, %(now)s)
ORDER BY next_attempt_at NULLS FIRST, key
LIMIT %(size)s
FOR UPDATE SKIP LOCKED

-- name: to-query
-- How many records must be queried, in groups that one call can query, opt-outs first. Brands whose account or provider
-- is suspended are left out until the next try.
SELECT c.brand_code, c.channel, c.recipient_type, count(*) AS waiting
FROM consents AS c JOIN brands AS b ON b.brand_code = c.brand_code AND b.status = 'active'
    AND is_served_by(b, %(account)s, %(address)s)
WHERE is_queryable(c, %(now)s)
    AND NOT EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = c.brand_code AND s.scope IN ('account', 'provider') AND s.status = '*'
            AND s.recheck_at > %(now)s)
GROUP BY c.brand_code, c.channel, c.recipient_type
ORDER BY max(c.desired_status) DESC NULLS LAST, c.brand_code, c.channel, c.recipient_type

-- name: claim-parked
-- Claim parked records of a brand (of one reason, if given), to be requeued by a person's order.
SELECT * FROM consents
WHERE state = 'parked' AND brand_code = %(brand_code)s
    AND (%(reason)s::text IS NULL OR reason = %(reason)s) AND key > %(after)s
ORDER BY key
LIMIT %(size)s
FOR UPDATE

-- name: claim-unsettled
-- Claim records of a brand whose terms depend on it, to be ruled again.
SELECT * FROM consents
WHERE brand_code = %(brand_code)s AND state IN ('pending', 'retryable', 'parked', 'unknown')
    AND key > %(after)s
ORDER BY key
LIMIT %(size)s
FOR UPDATE
