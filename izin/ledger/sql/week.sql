-- name: answered
-- What was decided and what İYS answered in a period, by customer: each answer with how long after the latest decision
-- of its key it was recorded. An answer whose decision is from before the period has no latency.
WITH facts AS (
    SELECT m.customer_id, m.kind, m.status, m.data ->> 'verdict' AS verdict, m.data ->> 'code' AS code, m.recorded_at,
        max(m.recorded_at) FILTER (WHERE m.kind = 'decision')
            OVER (PARTITION BY m.key ORDER BY m.recorded_at, m.place) AS decided_at
    FROM history AS m
    WHERE m.recorded_at >= %(since)s AND m.recorded_at < %(until)s AND m.kind IN ('decision', 'answer', 'breach')
        AND m.key IS NOT NULL AND (%(customer_id)s::text IS NULL OR m.customer_id = %(customer_id)s)
)
SELECT customer_id,
    count(*) FILTER (WHERE kind = 'decision') AS received,
    count(*) FILTER (WHERE kind = 'answer' AND verdict = 'success') AS registered,
    count(*) FILTER (WHERE kind = 'answer' AND verdict = 'success' AND status = 'RET') AS opt_outs_registered,
    count(*) FILTER (WHERE kind = 'breach') AS breaches,
    extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY recorded_at - decided_at)
        FILTER (WHERE kind = 'answer' AND verdict = 'success'))::double precision AS p50,
    extract(epoch FROM percentile_disc(0.95) WITHIN GROUP (ORDER BY recorded_at - decided_at)
        FILTER (WHERE kind = 'answer' AND verdict = 'success'))::double precision AS p95
FROM facts GROUP BY customer_id

-- name: refused
-- What İYS refused in a period, by customer and reason: its code, else what was made of the answer. What passes by itself
-- is no refusal.
SELECT m.customer_id, coalesce(m.data ->> 'code', m.data ->> 'verdict') AS reason, count(*) AS answers
FROM history AS m
WHERE m.recorded_at >= %(since)s AND m.recorded_at < %(until)s AND m.kind = 'answer' AND m.key IS NOT NULL
    AND m.data ->> 'verdict' <> ALL(%(no_refusals)s)
    AND (%(customer_id)s::text IS NULL OR m.customer_id = %(customer_id)s)
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2

-- name: held
-- What customers have now: records, those that opted out in the period, and those that are overdue.
SELECT c.customer_id, count(*) AS keys,
    count(*) FILTER (WHERE c.latest_ret_at >= %(since)s AND c.latest_ret_at < %(until)s) AS opt_outs,
    count(*) FILTER (WHERE is_unsettled(c) AND c.due_at < %(now)s) AS overdue
FROM consents AS c
WHERE %(customer_id)s::text IS NULL OR c.customer_id = %(customer_id)s
GROUP BY c.customer_id

-- name: requests
-- How many calls to İYS carried records of each customer in a period.
SELECT s.customer_id, sum(s.sends)::bigint AS requests FROM submissions AS s
WHERE s.intended_at >= %(since)s AND s.intended_at < %(until)s
    AND (%(customer_id)s::text IS NULL OR s.customer_id = %(customer_id)s)
GROUP BY s.customer_id
