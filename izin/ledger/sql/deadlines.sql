-- name: margins
-- Count what is not settled, by brand, channel, status and how much of its term has passed.
SELECT b.customer_id, c.brand_code, c.channel, c.desired_status AS status,
    count(*) AS keys,
    count(*) FILTER (WHERE c.due_at < %(now)s) AS missed,
    count(*) FILTER (WHERE c.due_at >= %(now)s AND passed.share >= 0.95) AS past_95,
    count(*) FILTER (WHERE c.due_at >= %(now)s AND passed.share >= 0.80 AND passed.share < 0.95) AS past_80,
    count(*) FILTER (WHERE c.due_at >= %(now)s AND passed.share >= 0.50 AND passed.share < 0.80) AS past_50,
    count(*) FILTER (WHERE c.due_at BETWEEN %(now)s AND %(now)s + interval '24 hours') AS due_soon,
    count(*) FILTER (WHERE c.state = 'parked') AS parked,
    count(*) FILTER (WHERE c.state = 'unknown') AS unknown,
    min(c.due_at) AS first_due_at,
    min(c.desired_at) AS oldest_at
FROM consents AS c
LEFT JOIN brands AS b ON b.brand_code = c.brand_code
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM %(now)s - c.desired_at)
        / nullif(extract(epoch FROM c.due_at - c.desired_at), 0) AS share) AS passed
WHERE is_unsettled(c)
    AND c.desired_status IS NOT NULL
GROUP BY b.customer_id, c.brand_code, c.channel, c.desired_status
ORDER BY c.desired_status DESC, min(c.due_at), c.brand_code, c.channel

-- name: has-opt-outs
-- An opt-out that is not settled, if there is one.
SELECT 1 AS one FROM consents AS c WHERE is_unsettled(c) AND c.desired_status = 'RET' LIMIT 1

-- name: suspended-opt-outs
-- Opt-outs that are not submitted for a suspension or a stopped brand: an operator must end it, or withdraw the
-- consents on İYS's own pages.
SELECT c.brand_code, c.channel, count(*) AS keys
FROM consents AS c JOIN brands AS b ON b.brand_code = c.brand_code
WHERE c.desired_status = 'RET' AND c.state IN ('pending', 'retryable') AND c.action IN ('send', 'wait')
    AND (b.status = 'stopped' OR EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = c.brand_code AND covers(s, c.channel, 'RET')))
GROUP BY c.brand_code, c.channel
ORDER BY c.brand_code, c.channel

-- name: open-opt-outs
-- Opt-outs of a brand that İYS has not accepted yet: what a person would withdraw on İYS's own pages.
SELECT key, recipient, channel, recipient_type, desired_source, due_at, state, reason, code,
    CASE WHEN registrable THEN least(desired_at, desired_consent_date) ELSE desired_at END AS desired_at
FROM consents AS c
WHERE brand_code = %(brand_code)s AND desired_status = 'RET' AND desired_rank = %(ours)s AND is_unsettled(c)
ORDER BY due_at, key LIMIT %(most)s

-- name: breaches
-- Opt-outs that were submitted after they were due, of a customer or of all.
SELECT key, customer_id, event_id, occurred_at, data->>'due_at' AS due_at
FROM history
WHERE kind = 'breach' AND key IS NOT NULL AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
ORDER BY recorded_at DESC LIMIT %(size)s
