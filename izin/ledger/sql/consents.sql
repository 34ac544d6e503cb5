-- name: lock
-- Lock the rows of these keys, always in one order, so that two writers wait and never deadlock.
SELECT * FROM consents WHERE key = ANY(%(keys)b) ORDER BY key FOR UPDATE

-- name: insert
-- Insert new keys. A key that another writer inserted meanwhile is missing in the result.
INSERT INTO consents
SELECT r.* FROM json_populate_recordset(NULL::consents, %(rows)s::json) AS r ORDER BY r.key
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: copy
-- Insert new keys that are due to İYS: first the columns that differ from row to row, then those that many share.
COPY consents ({bulk}) FROM STDIN (FORMAT binary)

-- name: save
-- Write rows that were read under lock back whole. A row whose state is not the expected one is missing in the result,
-- and the caller rolls back. Rows and states come side by side: joined by key, each was compared with each as soon as
-- PostgreSQL used a generic plan.
UPDATE consents AS c SET ({saved}) = ({saved:r})
FROM ROWS FROM (json_populate_recordset(NULL::consents, %(rows)s::json), unnest(%(states)s::text[])) AS r
WHERE c.key = r.key AND c.state = r.unnest
RETURNING c.key

-- name: stage
-- Where rows wait that change in bulk, slice by slice, until this transaction has saved them.
CREATE TEMP TABLE IF NOT EXISTS staged_rows ON COMMIT DELETE ROWS AS
SELECT 0::smallint AS slice, {bulk} FROM consents WITH NO DATA

-- name: copy-staged
-- Stage rows: first the columns that differ from row to row, then those that many share.
COPY staged_rows (slice, {bulk}) FROM STDIN (FORMAT binary)

-- name: save-staged
-- Save a slice of the staged rows, which this transaction has locked.
UPDATE consents AS c SET ({saved}) = ({saved:s}) FROM staged_rows AS s WHERE s.slice = %(slice)s AND c.key = s.key

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
