-- name: lock
-- A customer as it is before a change, locked until the transaction ends.
SELECT customer_id, name, created_at, brake_share, brake_at_least FROM customers
WHERE customer_id = %(customer_id)s FOR UPDATE

-- name: upsert
-- Insert a customer, or change its name.
INSERT INTO customers (customer_id, name, created_at) VALUES (%(customer_id)s, %(name)s, %(now)s)
ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name
RETURNING customer_id, name, created_at, brake_share, brake_at_least

-- name: all
-- Every customer.
SELECT customer_id, name, created_at, brake_share, brake_at_least FROM customers ORDER BY customer_id

-- name: brands
-- The brands of a customer.
SELECT brand_code FROM brands WHERE customer_id = %(customer_id)s

-- name: known
-- The customers among these that are registered; they stay so until the transaction ends.
SELECT customer_id FROM customers WHERE customer_id = ANY(%(customers)s) ORDER BY customer_id FOR KEY SHARE
