-- name: groups
-- What is parked, what İYS refused and can still be corrected, and where retailers differ, of brands (null: of every one)
-- by brand and reason, each counted up to its part of a limit. The reasons are found by index, one after the other.
WITH RECURSIVE codes AS (
    SELECT brand_code FROM brands WHERE %(brands)s::integer[] IS NULL OR brand_code = ANY(%(brands)s)
    UNION SELECT brand_code FROM unknown_brands WHERE %(brands)s::integer[] IS NULL
), reasons AS (
    SELECT c.brand_code, s.state, r.why
    FROM codes AS c CROSS JOIN unnest(ARRAY['parked', 'refused']) AS s (state)
    CROSS JOIN LATERAL (
        SELECT worklist_why(k.state, k.reason, k.code) AS why FROM consents AS k
        WHERE k.state IN ('parked', 'refused') AND k.brand_code = c.brand_code AND k.state = s.state
        ORDER BY worklist_why(k.state, k.reason, k.code) LIMIT 1) AS r
    UNION ALL
    SELECT p.brand_code, p.state, r.why
    FROM reasons AS p
    CROSS JOIN LATERAL (
        SELECT worklist_why(k.state, k.reason, k.code) AS why FROM consents AS k
        WHERE k.state IN ('parked', 'refused') AND k.brand_code = p.brand_code AND k.state = p.state
            AND worklist_why(k.state, k.reason, k.code) > p.why
        ORDER BY worklist_why(k.state, k.reason, k.code) LIMIT 1) AS r
), part AS (
    SELECT greatest(20, %(most)s / greatest(1, count(*))) AS most FROM reasons
), counted AS MATERIALIZED (
    SELECT r.state AS kind, r.brand_code, r.why, part.most, (
        SELECT count(*) FROM (
            SELECT FROM consents AS k
            WHERE k.state IN ('parked', 'refused') AND k.brand_code = r.brand_code AND k.state = r.state
                AND worklist_why(k.state, k.reason, k.code) = r.why
                AND worklist_until(k.expires_at, k.due_at)
                    > CASE r.state WHEN 'refused' THEN %(now)s ELSE '-infinity'::timestamptz END
                AND (k.state = 'parked' OR k.desired_status = 'ONAY')
            LIMIT part.most + 1) AS listed) AS records
    FROM reasons AS r CROSS JOIN part
    UNION ALL
    SELECT 'retailers', c.brand_code, 'retailer-access', part.most, (
        SELECT count(*) FROM (
            SELECT FROM retailer_access AS a WHERE a.desired_by IS NOT NULL AND a.brand_code = c.brand_code
            LIMIT part.most + 1) AS listed)
    FROM codes AS c CROSS JOIN part
)
SELECT kind, brand_code, why, least(records, most) AS records, records > most AS is_more
FROM counted WHERE records > 0 ORDER BY kind, brand_code, why

-- name: page
-- A page of such records of these groups, each from behind a place of its own: what can be done until the earliest
-- instant first.
SELECT p.kind, p.key, p.customer_id, p.brand_code, p.channel, p.recipient, p.status, p.why, p.code, p.event_id, p.since,
    nullif(p.until, 'infinity') AS until
FROM unnest(%(kinds)s::text[], %(codes)s::integer[], %(whys)s::text[], %(untils)s::timestamptz[], %(keys)s::text[])
    AS g (kind, brand_code, why, after_until, after_key)
CROSS JOIN LATERAL (
    (SELECT k.state AS kind, k.key COLLATE "C" AS key, k.customer_id, k.brand_code, k.channel, k.recipient,
        k.desired_status AS status, g.why, k.code, k.desired_event_id AS event_id, k.updated_at AS since,
        worklist_until(k.expires_at, k.due_at) AS until
    FROM consents AS k
    WHERE k.state IN ('parked', 'refused') AND k.brand_code = g.brand_code AND k.state = g.kind
        AND worklist_why(k.state, k.reason, k.code) = g.why
        AND (worklist_until(k.expires_at, k.due_at), k.key COLLATE "C") > (g.after_until, g.after_key)
        AND (k.state = 'parked' OR k.desired_status = 'ONAY')
    ORDER BY worklist_until(k.expires_at, k.due_at), k.key COLLATE "C" LIMIT %(size)s)
    UNION ALL
    (SELECT g.kind, a.key COLLATE "C", a.customer_id, a.brand_code, a.channel, substring(a.key FROM '^[^/]*/[^/]*/[^/]*/(.*)$'), 'ONAY', g.why,
        NULL, a.desired_by, a.since, 'infinity'
    FROM retailer_access AS a
    WHERE g.kind = 'retailers' AND a.desired_by IS NOT NULL AND a.brand_code = g.brand_code
        AND (g.after_until < 'infinity' OR a.key COLLATE "C" > g.after_key)
    ORDER BY a.key COLLATE "C" LIMIT %(size)s)
) AS p
ORDER BY p.until, p.kind COLLATE "C", p.key COLLATE "C" LIMIT %(size)s

-- name: of-keys
-- Those of these keys that are parked, or whose retailers differ, as they are now.
SELECT k.state AS kind, k.key, k.customer_id, k.brand_code, k.channel, k.recipient, k.desired_status AS status,
    worklist_why(k.state, k.reason, k.code) AS why, k.code, k.desired_event_id AS event_id, k.updated_at AS since,
    nullif(worklist_until(k.expires_at, k.due_at), 'infinity') AS until
FROM consents AS k WHERE k.key = ANY(%(parked)s) AND k.state = 'parked'
UNION ALL
SELECT 'retailers', a.key, a.customer_id, a.brand_code, a.channel, substring(a.key FROM '^[^/]*/[^/]*/[^/]*/(.*)$'), 'ONAY', 'retailer-access',
    NULL, a.desired_by, a.since, NULL
FROM retailer_access AS a WHERE a.key = ANY(%(retailers)s) AND a.desired_by IS NOT NULL

-- name: behind
-- What waits behind each suspension: how much, counted up to a limit for each channel and status, and what is due first.
SELECT s.brand_code, s.channel, s.status, count(w.*) AS records, min(w.due_at) AS due_at
FROM suspensions AS s
CROSS JOIN unnest(ARRAY['ARAMA', 'MESAJ', 'EPOSTA']) AS way (channel)
CROSS JOIN unnest(ARRAY['ONAY', 'RET']) AS whose (status)
LEFT JOIN LATERAL (
    SELECT c.due_at FROM consents AS c
    WHERE c.state IN ('pending', 'retryable') AND c.action = 'send' AND c.brake_id IS NULL
        AND c.brand_code = s.brand_code AND c.channel = way.channel AND c.desired_status = whose.status
        AND covers(s, way.channel, whose.status)
    ORDER BY c.due_at LIMIT %(most)s) AS w ON true
GROUP BY s.brand_code, s.channel, s.status
