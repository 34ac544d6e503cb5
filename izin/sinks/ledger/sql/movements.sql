-- name: append
-- Facts, each once: one whose source is known already is a repetition and changes nothing.
INSERT INTO movements (kind, customer_id, key, event_id, status, source, occurred_at, recorded_at, data)
SELECT m.kind, m.customer_id, m.key, m.event_id, m.status, m.source, m.occurred_at, m.recorded_at, m.data
FROM json_to_recordset(%(rows)s::json) AS m (
    kind text, customer_id text, key text, event_id text, status text, source text,
    occurred_at timestamptz, recorded_at timestamptz, data jsonb)
ON CONFLICT (source) DO NOTHING
