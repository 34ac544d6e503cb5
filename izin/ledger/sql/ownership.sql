-- name: was-unknown
-- Whether events named a brand that was not registered.
SELECT FROM unknown_brands WHERE brand_code = %(brand_code)s

-- name: adopt-suspensions
-- Give the suspensions of a brand to its customer.
UPDATE suspensions SET customer_id = %(customer_id)s
WHERE brand_code = %(brand_code)s AND customer_id <> %(customer_id)s
RETURNING channel

-- name: adopt-page
-- Give the records of a brand in one page of all keys to its customer. There is no index on the brands of all records:
-- it would cost every new key an entry, and brands rarely move.
WITH page AS MATERIALIZED (
    SELECT key, brand_code, customer_id FROM consents WHERE key > %(after)s ORDER BY key LIMIT %(size)s
), locked AS MATERIALIZED (
    SELECT c.key FROM consents AS c
    WHERE c.key = ANY(ARRAY(
            SELECT p.key FROM page AS p
            WHERE p.brand_code = %(brand_code)s AND p.customer_id <> %(customer_id)s))
    ORDER BY c.key FOR UPDATE
), owned AS (
    UPDATE consents AS c SET customer_id = %(customer_id)s FROM locked AS l WHERE c.key = l.key RETURNING c.key
), others AS (
    UPDATE retailer_access AS r SET customer_id = %(customer_id)s FROM locked AS l WHERE r.key = l.key RETURNING r.key
)
SELECT (SELECT max(key) FROM page) AS last, (SELECT count(*) FROM owned) AS adopted,
    (SELECT count(*) FROM others) AS others
