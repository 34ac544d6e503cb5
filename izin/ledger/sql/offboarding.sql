-- name: begin
-- Begin the offboarding of a customer; one that is under way stays as it is.
INSERT INTO offboardings (customer_id, ordered_at, ordered_by, reason)
VALUES (%(customer_id)s, %(now)s, %(by)s, %(reason)s) ON CONFLICT DO NOTHING

-- name: one
-- How far the offboarding of a customer is.
SELECT * FROM offboardings WHERE customer_id = %(customer_id)s

-- name: named
-- The opt-outs that were not at İYS are in a file.
UPDATE offboardings SET named_opt_outs = %(count)s WHERE customer_id = %(customer_id)s

-- name: archived
-- The archive is whole.
UPDATE offboardings SET sha256 = %(sha256)s, archived_at = %(now)s
WHERE customer_id = %(customer_id)s AND ended_at IS NULL

-- name: end
-- It is done. No row: another process has ended it.
UPDATE offboardings SET ended_at = %(now)s
WHERE customer_id = %(customer_id)s AND ended_at IS NULL AND archived_at IS NOT NULL
RETURNING customer_id

-- name: end-customer
-- Nothing more is done for the customer.
UPDATE customers SET offboarded_at = %(now)s WHERE customer_id = %(customer_id)s

-- name: remove-items
-- What it gave for its application names its signatories.
DELETE FROM application_items WHERE customer_id = %(customer_id)s

-- name: waiting-consents
-- Consents of a customer that wait to be sent to İYS, or for a person, a page at a time.
SELECT key FROM consents
WHERE customer_id = %(customer_id)s AND desired_status = 'ONAY' AND NOT onay_open
    AND state IN ('pending', 'retryable', 'parked')
ORDER BY key LIMIT %(size)s

-- name: open
-- What of a customer is not settled: consents that wait, consents and opt-outs on their way, opt-outs that wait.
SELECT count(*) FILTER (WHERE desired_status = 'ONAY' AND NOT onay_open AND state IN ('pending', 'retryable', 'parked'))
        AS consents,
    count(*) FILTER (WHERE onay_open OR desired_status = 'RET' AND is_unsettled(c)) AS open,
    count(*) FILTER (WHERE desired_status = 'RET' AND is_unsettled(c)) AS opt_outs,
    count(*) AS keys
FROM consents AS c WHERE customer_id = %(customer_id)s
