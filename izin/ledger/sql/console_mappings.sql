-- name: every
-- The mappings of a customer, by name.
SELECT name, mapping FROM console_mappings WHERE customer_id = %(customer_id)s ORDER BY name

-- name: save
-- Adds a mapping, or replaces the one of this name.
INSERT INTO console_mappings (customer_id, name, mapping, saved_at)
VALUES (%(customer_id)s, %(name)s, %(mapping)s, %(now)s)
ON CONFLICT (customer_id, name) DO UPDATE SET mapping = EXCLUDED.mapping, saved_at = EXCLUDED.saved_at
