-- name: providers
-- The providers of brands served here that may be read and were not counted since an instant.
SELECT DISTINCT b.iys_code FROM brands AS b
WHERE b.status = 'active' AND is_served_by(b, %(account)s, %(addresses)s::text[])
    AND b.brand_code NOT IN (SELECT brand_code FROM unreadable_brands)
    AND NOT EXISTS (
        SELECT FROM register_counts AS n WHERE n.brand_code = b.brand_code AND n.counted_at > %(since)s)
ORDER BY b.iys_code

-- name: count
-- Keep what İYS counts of brands, beside what the ledger believes to be registered there.
INSERT INTO register_counts (brand_code, counted_at, iys_onay, iys_ret, onay, ret, unconfirmed, in_flight)
SELECT i.brand_code, %(now)s, i.onay, i.ret, o.onay, o.ret, o.unconfirmed, o.in_flight
FROM unnest(%(brand_codes)s::integer[], %(onay)s::bigint[], %(ret)s::bigint[]) AS i (brand_code, onay, ret)
JOIN brands AS b ON b.brand_code = i.brand_code
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE c.registered = 'ONAY') AS onay, count(*) FILTER (WHERE c.registered = 'RET') AS ret,
        count(*) FILTER (WHERE c.registered IN ('UNKNOWN', 'NOT_ONAY')) AS unconfirmed,
        count(*) FILTER (WHERE c.onay_open OR c.ret_open) AS in_flight
    FROM consents AS c WHERE c.brand_code = i.brand_code
) AS o
ON CONFLICT (brand_code, counted_at) DO NOTHING

-- name: latest
-- The counts of each brand since an instant, the latest first, or the latest alone, and those of about thirty days before.
SELECT n.*, old.iys_onay - old.onay AS onay_before, old.iys_ret - old.ret AS ret_before
FROM brands AS b
CROSS JOIN LATERAL (
    SELECT * FROM register_counts AS l
    WHERE l.brand_code = b.brand_code AND (%(since)s::timestamptz IS NULL OR l.counted_at >= %(since)s)
    ORDER BY l.counted_at DESC LIMIT CASE WHEN %(since)s::timestamptz IS NULL THEN 1 END
) AS n
LEFT JOIN LATERAL (
    SELECT o.* FROM register_counts AS o
    WHERE o.brand_code = n.brand_code AND o.counted_at <= n.counted_at - interval '30 days'
    ORDER BY o.counted_at DESC LIMIT 1
) AS old ON true
WHERE %(brand_code)s::integer IS NULL OR b.brand_code = %(brand_code)s
ORDER BY b.brand_code, n.counted_at DESC
