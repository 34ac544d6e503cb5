-- name: lock
-- Lock the rows of these keys, always in one order, so that two writers wait and never deadlock.
SELECT * FROM consents WHERE key = ANY(%(keys)b) ORDER BY key FOR UPDATE

-- name: lock-known
-- Lock the rows of these keys in the same order, and read which they are and what decides how they change in bulk. The
-- last columns say whether something is known of İYS's record and of the consent date, and whether a row is unusual.
SELECT ctid, xmin, {known}, verified_at IS NULL, registered_transaction_id IS NULL, desired_consent_date IS NULL,
    num_nonnulls(retailer_code, retailer_access, brake_id, withdrawn_at, next_attempt_at, void_event_id) > 0
FROM consents WHERE key = ANY(%(keys)b) ORDER BY key FOR UPDATE

-- name: read-known
-- Read the same without a lock.
SELECT ctid, xmin, {known}, verified_at IS NULL, registered_transaction_id IS NULL, desired_consent_date IS NULL,
    num_nonnulls(retailer_code, retailer_access, brake_id, withdrawn_at, next_attempt_at, void_event_id) > 0
FROM consents WHERE key = ANY(%(keys)b)

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

-- name: stage-newer
-- Where rows wait that newer events change in bulk, slice by slice, until this transaction has saved them.
CREATE TEMP TABLE IF NOT EXISTS newer_rows ON COMMIT DELETE ROWS AS
SELECT 0::smallint AS slice, ctid AS address, xmin AS version, {newer} FROM consents WITH NO DATA

-- name: copy-newer
-- Stage rows: first which they are and the columns that differ from row to row, then those that many share.
COPY newer_rows (slice, address, version, {newer}) FROM STDIN (FORMAT binary)

-- name: save-newer
-- Save a slice of the staged rows. One that has changed since it was read is missing in the count, and the caller rolls
-- back: it is elsewhere, or another transaction wrote what is there now.
UPDATE consents AS c SET ({newer}) = ({newer:s}) FROM newer_rows AS s
WHERE s.slice = %(slice)s AND c.ctid = s.address AND c.xmin = s.version

-- name: stage-observed
-- Where rows wait that observations at İYS change in bulk, until this transaction has saved them.
CREATE TEMP TABLE IF NOT EXISTS observed_rows ON COMMIT DELETE ROWS AS
SELECT 0::smallint AS slice, ctid AS address, xmin AS version, {observed} FROM consents WITH NO DATA

-- name: copy-observed
-- Stage rows like those that newer events change.
COPY observed_rows (slice, address, version, {observed}) FROM STDIN (FORMAT binary)

-- name: save-observed
-- Save a slice of staged rows like those that newer events change.
UPDATE consents AS c SET ({observed}) = ({observed:s}) FROM observed_rows AS s
WHERE s.slice = %(slice)s AND c.ctid = s.address AND c.xmin = s.version

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
FROM consents WHERE key = ANY(%(keys)b) ORDER BY key FOR UPDATE

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

-- name: claim-parked
-- Claim parked records of a brand that a person was shown and orders to be requeued: those that are as they were then.
SELECT c.* FROM consents AS c
JOIN unnest(%(keys)s::text[], %(event_ids)s::text[], %(since)s::timestamptz[]) AS p (key, event_id, since) USING (key)
WHERE c.state = 'parked' AND c.brand_code = %(brand_code)s AND c.reason = %(reason)s AND c.updated_at = p.since
    AND c.desired_event_id IS NOT DISTINCT FROM p.event_id AND c.key > %(after)s
ORDER BY c.key
LIMIT %(size)s
FOR UPDATE OF c

-- name: claim-unsettled
-- Claim records of a brand whose terms depend on it, to be ruled again.
SELECT * FROM consents
WHERE brand_code = %(brand_code)s AND state IN ('pending', 'retryable', 'parked', 'unknown')
    AND key > %(after)s
ORDER BY key
LIMIT %(size)s
FOR UPDATE

-- name: claim-terms
-- Claim records of a brand whose terms are still of use, to be counted again: those that are not settled, and those that
-- expired for their term alone.
SELECT * FROM consents
WHERE brand_code = %(brand_code)s AND key > %(after)s
    AND (state IN ('pending', 'retryable', 'parked', 'unknown') OR state = 'expired' AND reason = 'term-ended')
ORDER BY key
LIMIT %(size)s
FOR UPDATE
