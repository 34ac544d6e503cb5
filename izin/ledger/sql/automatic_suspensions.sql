-- name: set-limits
-- Set the limits of a customer, or take them away (null).
UPDATE customers SET brake_share = %(share)s, brake_at_least = %(at_least)s, brake_reversals = %(reversals)s
WHERE customer_id = %(customer_id)s

-- name: count-opt-ins
-- Count the keys of brands that desire ONAY. It reads every row of the ledger.
INSERT INTO opt_in_counts (brand_code, keys)
SELECT b.brand_code, coalesce(c.keys, 0)
FROM brands AS b
LEFT JOIN (
    SELECT brand_code, count(*) AS keys FROM consents
    WHERE brand_code = ANY(%(codes)s) AND desired_status = 'ONAY' GROUP BY brand_code) AS c USING (brand_code)
WHERE b.brand_code = ANY(%(codes)s)
ON CONFLICT (brand_code) DO UPDATE SET keys = excluded.keys

-- name: forget
-- Forget what was counted of brands.
WITH counts AS (DELETE FROM opt_in_counts WHERE brand_code = ANY(%(codes)s))
DELETE FROM recent_opt_outs WHERE brand_code = ANY(%(codes)s)

-- name: forget-keys
-- Forget opt-outs of keys.
DELETE FROM recent_opt_outs WHERE key = ANY(%(keys)s)

-- name: watched
-- The brands among these whose customer has set limits: on opt-outs, with how many of their keys desire ONAY (null: not
-- counted), on opt-ins over opt-outs, or on both.
SELECT b.brand_code, o.keys AS opted_in, c.brake_share IS NOT NULL AS of_ret, c.brake_reversals IS NOT NULL AS of_onay
FROM brands AS b
JOIN customers AS c ON c.customer_id = b.customer_id AND num_nonnulls(c.brake_share, c.brake_reversals) > 0
LEFT JOIN opt_in_counts AS o ON o.brand_code = b.brand_code
WHERE b.brand_code = ANY(%(codes)s)

-- name: add-opt-ins
-- Add to the counts of opt-ins what this transaction has changed.
UPDATE opt_in_counts AS o SET keys = o.keys + d.change
FROM unnest(%(codes)s::integer[], %(changes)s::bigint[]) AS d (code, change)
WHERE o.brand_code = d.code

-- name: names-of-keys
-- Which of these actors are API keys, also revoked ones: the key that published an event is named by it.
SELECT DISTINCT name FROM api_keys WHERE name = ANY(%(actors)s)

-- name: note
-- Note opt-outs, or opt-ins over opt-outs, by their source: the latest of each key.
INSERT INTO recent_opt_outs AS r (brand_code, source, key, event_id, over_ret, status, noted_at)
SELECT o.*, %(status)s, %(now)s
FROM unnest(%(codes)s::integer[], %(sources)s::text[], %(keys)s::text[], %(event_ids)s::text[], %(over_ret)s::boolean[])
    AS o
ON CONFLICT (brand_code, source, key) DO UPDATE SET event_id = excluded.event_id, noted_at = excluded.noted_at,
    status = excluded.status, over_ret = r.over_ret OR excluded.over_ret

-- name: forget-older
-- Forget the opt-outs of a source that are no longer counted.
DELETE FROM recent_opt_outs WHERE brand_code = %(brand_code)s AND source = %(source)s AND noted_at < %(since)s

-- name: lock-open
-- The open suspensions of brands; nobody decides about them until the transaction ends.
SELECT id, brand_code, source FROM brakes WHERE brand_code = ANY(%(codes)s) AND status = %(status)s
    AND decision IS NULL FOR SHARE

-- name: begin-ret
-- Suspend a source that has opted out more than the allowed share of a brand's keys: of those that desire ONAY
-- now, and those that it has opted out.
INSERT INTO brakes (customer_id, brand_code, source, tripped_at, keys, opted_in, share)
SELECT c.customer_id, b.brand_code, %(source)s, %(now)s, r.keys, o.keys, c.brake_share
FROM brands AS b
JOIN customers AS c ON c.customer_id = b.customer_id AND c.brake_share IS NOT NULL
JOIN opt_in_counts AS o ON o.brand_code = b.brand_code
CROSS JOIN (
    SELECT count(*) AS keys FROM recent_opt_outs
    WHERE brand_code = %(brand_code)s AND source = %(source)s AND status = 'RET' AND noted_at >= %(since)s) AS r
WHERE b.brand_code = %(brand_code)s AND r.keys >= c.brake_at_least
    AND r.keys * 100 > c.brake_share * (o.keys + r.keys)
RETURNING id

-- name: begin-onay
-- Suspend a source that has reversed more opt-outs of a brand than its customer allows.
INSERT INTO brakes (customer_id, brand_code, source, status, tripped_at, keys, opted_in, share)
SELECT c.customer_id, b.brand_code, %(source)s, 'ONAY', %(now)s, r.keys, 0, 0
FROM brands AS b
JOIN customers AS c ON c.customer_id = b.customer_id
CROSS JOIN (
    SELECT count(*) AS keys FROM recent_opt_outs
    WHERE brand_code = %(brand_code)s AND source = %(source)s AND status = 'ONAY' AND noted_at >= %(since)s) AS r
WHERE b.brand_code = %(brand_code)s AND r.keys > c.brake_reversals
RETURNING id

-- name: hold-back
-- Hold the opt-outs, or opt-ins, back that a source has sent since an instant: those that were not submitted yet; opt-outs
-- that are due late enough. Return which were desired over an opt-out. Rows are locked in one order, and each is looked up by its key: what was counted here when the tables were last
-- analyzed says nothing of how many there are now.
WITH noted AS MATERIALIZED (
    SELECT key, event_id, over_ret FROM recent_opt_outs
    WHERE brand_code = %(brand_code)s AND source = %(source)s AND status = %(status)s AND noted_at >= %(since)s
    ORDER BY key
), locked AS MATERIALIZED (
    SELECT one.key, n.over_ret FROM noted AS n CROSS JOIN LATERAL (
        SELECT c.key FROM consents AS c
        WHERE c.key = n.key AND c.desired_event_id = n.event_id AND c.desired_status = %(status)s
            AND c.state IN ('pending', 'retryable') AND (c.desired_status = 'ONAY' OR held_back_until(c) > %(now)s)
        FOR UPDATE) AS one
), held AS (
    UPDATE consents AS c SET brake_id = %(brake_id)s, updated_at = %(now)s FROM locked WHERE c.key = locked.key
    RETURNING c.key, locked.over_ret
)
SELECT key FROM held WHERE over_ret

-- name: end
-- Let opt-outs go that may be held back no longer, the earliest due first.
UPDATE consents SET brake_id = NULL, updated_at = %(now)s
WHERE key = ANY(ARRAY(
    SELECT c.key FROM consents AS c
    WHERE c.brake_id IS NOT NULL AND c.desired_status = 'RET' AND (c.due_at IS NULL OR c.due_at <= %(now)s + interval '24 hours')
    ORDER BY c.due_at NULLS FIRST LIMIT %(size)s FOR UPDATE SKIP LOCKED))

-- name: undecided
-- The suspensions that hold opt-outs or opt-ins back, or would: those that nobody has decided about, and those whose decision was not
-- carried out to its end.
SELECT b.id, b.customer_id, b.brand_code, b.source, b.status, b.tripped_at, b.keys, b.opted_in, b.share, b.decision, b.decided_at,
    b.decided_by, b.reason, coalesce(h.keys, 0) AS held_back, h.due_at AS first_due_at
FROM brakes AS b
LEFT JOIN (
    SELECT brake_id, count(*) AS keys, min(due_at) AS due_at FROM consents
    WHERE brake_id IS NOT NULL AND state IN ('pending', 'retryable')
    GROUP BY brake_id) AS h ON h.brake_id = b.id
WHERE b.decision IS NULL OR h.keys > 0
ORDER BY b.brand_code, b.tripped_at, b.id

-- name: decide
-- Close a suspension, unless it is decided already: what comes from its source is counted anew.
WITH decided AS (
    UPDATE brakes SET decision = %(decision)s, decided_at = %(now)s, decided_by = %(by)s, reason = %(reason)s
    WHERE id = %(id)s AND decision IS NULL
    RETURNING id, brand_code, source, status
), forgotten AS (
    DELETE FROM recent_opt_outs AS r USING decided AS d
    WHERE (r.brand_code, r.source, r.status) = (d.brand_code, d.source, d.status)
)
SELECT id FROM decided

-- name: decision
-- What was decided about a suspension.
SELECT decision FROM brakes WHERE id = %(id)s

-- name: held-back
-- A page of the keys that a suspension holds back, the earliest due first.
SELECT key FROM consents WHERE brake_id = %(id)s ORDER BY due_at LIMIT %(size)s

-- name: opt-outs-of-keys
-- What was decided on keys, and which opt-outs a person has withdrawn.
SELECT m.key, m.event_id, m.decision
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
WHERE m.kind = 'decision' OR m.kind = 'act' AND m.data ->> 'act' = 'withdraw opt-out'
ORDER BY m.key
