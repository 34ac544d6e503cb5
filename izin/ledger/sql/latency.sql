-- name: changes
-- The decisions on changes that began at İYS, recorded since an instant, the latest of them, of all or of opt-outs alone.
-- Each with the instant of the key's next decision, when what followed was published, and when subscribers took it.
-- Bytes of the origin (`iys`, `iys-hs`, each behind its length in Avro) leave out almost everything else without decoding
-- it; the reader decides.
SELECT m.decision, m.recorded_at,
    (SELECT min(p.occurred_at) FROM history AS p
        WHERE hashtextextended(p.key, 0) = hashtextextended(m.key, 0) AND p.key = m.key AND p.kind = 'delivery'
            AND p.recorded_at >= m.recorded_at AND p.recorded_at < n.next_at
            AND p.data ->> 'topic' = %(permissions)s) AS readable_at,
    ARRAY(SELECT d.delivered_at FROM deliveries AS d
        WHERE hashtextextended(d.key, 0) = hashtextextended(m.key, 0) AND d.key = m.key AND d.resend_id IS NULL
            AND d.type IN ('consent.opted-out', 'permission.granted')
            AND d.delivered_at >= m.recorded_at - interval '1 hour' AND d.delivered_at < n.next_at) AS delivered_at
FROM (
    SELECT * FROM history AS h
    WHERE h.recorded_at >= %(since)s AND h.kind = 'decision'
        AND (NOT %(opt_outs)s::boolean OR opted_out(h.decision))
        AND (position('\x06697973'::bytea IN h.decision) > 0 OR position('\x0c6979732d6873'::bytea IN h.decision) > 0)
        AND (%(brand)s::text IS NULL OR split_part(h.key, '/', 1) = %(brand)s)
        AND (%(customer_id)s::text IS NULL OR h.customer_id = %(customer_id)s)
    ORDER BY h.recorded_at DESC LIMIT %(most)s::bigint
) AS m
CROSS JOIN LATERAL (
    SELECT coalesce(min(f.recorded_at), 'infinity') AS next_at FROM history AS f
    WHERE hashtextextended(f.key, 0) = hashtextextended(m.key, 0) AND f.key = m.key AND f.kind = 'decision'
        AND f.recorded_at > m.recorded_at) AS n
