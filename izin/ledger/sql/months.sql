-- name: entries
-- What was decided of a customer in a period, with the row of each key, and what became of it then and within ten days:
-- key by key, in the order of their recording.
SELECT m.key, m.kind, m.event_id, m.status, m.recorded_at, m.decision, m.data ->> 'outcome' AS outcome,
    coalesce(m.data ->> 'code', m.data ->> 'message') AS code, c.desired_event_id, c.desired_status, c.state,
    coalesce(c.code, c.reason) AS row_code
FROM history AS m
LEFT JOIN consents AS c ON m.kind = 'decision' AND c.key = m.key
WHERE m.customer_id = %(customer_id)s AND m.key IS NOT NULL
    AND m.recorded_at >= %(since)s AND m.recorded_at < %(until)s::timestamptz + interval '10 days'
    AND (m.kind = 'decision' AND m.recorded_at < %(until)s OR m.kind = 'outcome'
        OR m.kind = 'answer' AND m.data ->> 'verdict' = 'success')
ORDER BY m.key, m.recorded_at, m.place

-- name: save
-- Keep the report of a customer's month, in place of an earlier one.
INSERT INTO month_reports (customer_id, month, made_at, rows)
VALUES (%(customer_id)s, %(month)s, %(made_at)s, %(rows)s::json)
ON CONFLICT (customer_id, month) DO UPDATE SET made_at = excluded.made_at, rows = excluded.rows

-- name: saved
-- The report of a customer's month that was made last.
SELECT made_at, rows FROM month_reports WHERE customer_id = %(customer_id)s AND month = %(month)s
