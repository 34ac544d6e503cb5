-- name: lock
-- A customer as it is before a change, locked until the transaction ends.
SELECT customer_id, name, created_at, kind, mersis, vkn, iys_code, offboarded_at,
    brake_share, brake_at_least, brake_reversals
FROM customers WHERE customer_id = %(customer_id)s FOR UPDATE

-- name: upsert
-- Insert a customer, or change what a person says of it.
INSERT INTO customers (customer_id, name, created_at, kind, mersis, vkn, iys_code)
VALUES (%(customer_id)s, %(name)s, %(now)s, %(kind)s, %(mersis)s, %(vkn)s, %(iys_code)s)
ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, kind = excluded.kind, mersis = excluded.mersis,
    vkn = excluded.vkn, iys_code = excluded.iys_code

-- name: all
-- Every customer.
SELECT customer_id, name, created_at, kind, mersis, vkn, iys_code, offboarded_at,
    brake_share, brake_at_least, brake_reversals
FROM customers ORDER BY customer_id

-- name: brands
-- The brands of a customer.
SELECT brand_code FROM brands WHERE customer_id = %(customer_id)s

-- name: known
-- The customers among these that are registered; they stay so until the transaction ends.
SELECT customer_id, offboarded_at FROM customers WHERE customer_id = ANY(%(customers)s) ORDER BY customer_id FOR KEY SHARE
