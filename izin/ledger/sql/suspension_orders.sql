-- name: lock-customer
-- Whether there is a customer; brands are added to it after this transaction.
SELECT customer_id FROM customers WHERE customer_id = %(customer_id)s FOR UPDATE

-- name: lock-brands
-- The brands that an order concerns, locked: one, or every brand of a customer.
SELECT brand_code, customer_id FROM brands
WHERE brand_code = %(brand_code)s OR customer_id = %(customer_id)s
ORDER BY brand_code FOR NO KEY UPDATE

-- name: of-target
-- The orders on a brand or customer itself.
SELECT part, reason FROM suspension_orders
WHERE customer_id IS NOT DISTINCT FROM %(customer_id)s AND brand_code IS NOT DISTINCT FROM %(brand_code)s

-- name: order
-- Add orders, or change the reasons of those that stand.
INSERT INTO suspension_orders (customer_id, brand_code, part, reason, ordered_by, since)
SELECT %(customer_id)s, %(brand_code)s, p.part, %(reason)s, %(by)s, %(now)s FROM unnest(%(parts)s::text[]) AS p (part)
ON CONFLICT (customer_id, brand_code, part) DO UPDATE SET
    reason = excluded.reason, ordered_by = excluded.ordered_by, since = excluded.since

-- name: end
-- End orders on a brand or customer.
DELETE FROM suspension_orders
WHERE customer_id IS NOT DISTINCT FROM %(customer_id)s AND brand_code IS NOT DISTINCT FROM %(brand_code)s
    AND part = ANY(%(parts)s)

-- name: suspend-calls
-- Suspend every record of those of these brands that have an order, its own before its customer's; this replaces a
-- suspension that İYS caused.
INSERT INTO suspensions AS s (brand_code, channel, status, customer_id, code, reason, scope, since, recheck_at)
SELECT DISTINCT ON (b.brand_code) b.brand_code, '*', '*', b.customer_id, %(code)s, o.reason, 'brand', o.since, NULL
FROM brands AS b
JOIN suspension_orders AS o ON o.part = 'iys' AND (o.brand_code = b.brand_code OR o.customer_id = b.customer_id)
WHERE b.brand_code = ANY(%(codes)s)
ORDER BY b.brand_code, o.brand_code NULLS LAST
ON CONFLICT (brand_code, channel, status) DO UPDATE SET
    code = excluded.code, reason = excluded.reason, scope = excluded.scope, since = excluded.since, recheck_at = NULL,
    rechecks = 0
WHERE (s.code, s.reason) IS DISTINCT FROM (excluded.code, excluded.reason)

-- name: resume-calls
-- Resume the records of those of these brands that have no order any more.
DELETE FROM suspensions AS s USING brands AS b
WHERE b.brand_code = s.brand_code AND s.brand_code = ANY(%(codes)s) AND s.code = %(code)s
    AND NOT EXISTS (
        SELECT FROM suspension_orders AS o
        WHERE o.part = 'iys' AND (o.brand_code = b.brand_code OR o.customer_id = b.customer_id))
RETURNING s.brand_code

-- name: close-gate
-- Store why nothing commercial may be sent for these brands, by an order of their own or else of their customer; returns
-- those for which that has changed.
UPDATE brands AS b SET suspension = o.reason
FROM (
    SELECT a.brand_code, (
        SELECT g.reason FROM suspension_orders AS g
        WHERE g.part = 'gate' AND (g.brand_code = a.brand_code OR g.customer_id = a.customer_id)
        ORDER BY g.brand_code NULLS LAST LIMIT 1) AS reason
    FROM brands AS a WHERE a.brand_code = ANY(%(codes)s)
) AS o
WHERE b.brand_code = o.brand_code AND b.suspension IS DISTINCT FROM o.reason
RETURNING {brand:b}

-- name: all
-- Every order that stands.
SELECT customer_id, brand_code, part, reason, ordered_by, since FROM suspension_orders
ORDER BY customer_id NULLS LAST, brand_code, part
