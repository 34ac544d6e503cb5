-- name: of-customer
-- What a customer has given for its application.
SELECT item, brand_code, value, given_by, given_at FROM application_items
WHERE customer_id = %(customer_id)s ORDER BY item, brand_code

-- name: put
-- Note an item, in place of one before.
INSERT INTO application_items (customer_id, item, brand_code, value, given_by, given_at)
VALUES (%(customer_id)s, %(item)s, %(brand_code)s, %(value)s, %(by)s, %(now)s)
ON CONFLICT (customer_id, item, brand_code) DO UPDATE SET value = excluded.value, given_by = excluded.given_by,
    given_at = excluded.given_at

-- name: remove
-- Take an item away.
DELETE FROM application_items
WHERE customer_id = %(customer_id)s AND item = %(item)s AND brand_code = %(brand_code)s
