-- name: flow
-- What was decided, and what İYS answered, since an instant, by customer. What passes by itself is no refusal.
SELECT m.customer_id,
    count(*) FILTER (WHERE m.kind = 'decision') AS decided,
    count(*) FILTER (WHERE m.kind = 'answer' AND m.data ->> 'verdict' = 'success') AS registered,
    count(*) FILTER (WHERE m.kind = 'answer' AND m.data ->> 'verdict' = 'success' AND m.status = 'RET')
        AS opt_outs_registered,
    count(*) FILTER (WHERE m.kind = 'answer' AND m.data ->> 'verdict' <> ALL(%(no_refusals)s)) AS refused,
    count(*) FILTER (WHERE m.kind = 'breach') AS breaches
FROM history AS m
WHERE m.recorded_at >= %(since)s AND m.kind IN ('decision', 'answer', 'breach') AND m.key IS NOT NULL
GROUP BY m.customer_id

-- name: opt-outs
-- The opt-outs since an instant, by customer, Turkish day, channel, and how each came: by which path from İYS, else from a
-- source. In the bytes of a decision the path is behind the stream (IYS or HS) that showed it.
SELECT m.customer_id, (m.recorded_at AT TIME ZONE 'Europe/Istanbul')::date AS day, split_part(m.key, '/', 2) AS channel,
    CASE
        WHEN position('\x530870757368'::bytea IN m.decision) > 0 THEN 'push'
        WHEN position('\x530870756c6c'::bytea IN m.decision) > 0 THEN 'pull'
        WHEN position('\x530a6461696c79'::bytea IN m.decision) > 0 THEN 'daily'
        ELSE 'source'
    END AS path,
    count(*) AS opt_outs
FROM history AS m
WHERE m.recorded_at >= %(since)s AND m.kind = 'decision' AND opted_out(m.decision)
GROUP BY m.customer_id, day, channel, path
ORDER BY day, m.customer_id, channel, path

-- name: read-until
-- Until when everything that was published has been read, of the partition that is furthest behind; NULL: unknown.
SELECT min(read_until) AS read_until FROM kafka_offsets
