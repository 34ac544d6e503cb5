-- name: held-of
-- What the ledger has of keys: what is desired, and what İYS holds as far as known.
SELECT key, registered, desired_status, desired_at FROM consents WHERE key = ANY(%(keys)s)

-- name: addresses
-- The distinct addresses of a customer that İYS holds or is to hold, by brand: what a subscription is measured by. An
-- opt-out that İYS holds keeps its address.
SELECT b.brand_code,
    count(DISTINCT c.recipient) FILTER (WHERE c.channel <> 'EPOSTA') AS phones,
    count(DISTINCT c.recipient) FILTER (WHERE c.channel = 'EPOSTA') AS emails
FROM brands AS b LEFT JOIN consents AS c ON c.brand_code = b.brand_code
    AND (c.registered IN ('ONAY', 'RET') OR c.desired_status = 'ONAY' AND c.state NOT IN ('expired', 'refused'))
WHERE b.customer_id = %(customer_id)s
GROUP BY b.brand_code ORDER BY b.brand_code

-- name: void
-- The next consents that became void because they were not registered in time, in the order of keys.
SELECT key, brand_code, channel, recipient_type, recipient, desired_at, expires_at FROM consents
WHERE key > %(after)s AND brand_code = ANY(%(brand_codes)s) AND state = 'expired' AND registered <> 'ONAY'
ORDER BY key LIMIT %(size)s
