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
-- The next consents that are void, in the order of keys: not registered in time, or refused. An opt-out of the recipient
-- that came later stands.
SELECT key, brand_code, channel, recipient_type, recipient, desired_at, expires_at, updated_at, state, code, registered,
    latest_ret_at
FROM consents
WHERE key > %(after)s AND brand_code = ANY(%(brand_codes)s) AND desired_status = 'ONAY'
    AND state IN ('expired', 'refused') AND registered <> 'ONAY'
ORDER BY key LIMIT %(size)s

-- name: returned
-- The next keys at ONAY, in their order, and when a consent of theirs became void, if one ever did.
SELECT c.key, c.brand_code, c.channel, c.recipient_type, c.recipient, c.registered_at, c.registered_source, (
        SELECT max(m.occurred_at) FROM history AS m
        WHERE hashtextextended(m.key, 0) = hashtextextended(c.key, 0) AND m.key = c.key AND m.kind = 'outcome'
            AND m.status = 'ONAY' AND m.data ->> 'outcome' IN ('expired', 'refused')) AS void_at
FROM consents AS c
WHERE c.key > %(after)s AND c.brand_code = ANY(%(brand_codes)s) AND c.registered = 'ONAY'
ORDER BY c.key LIMIT %(size)s
