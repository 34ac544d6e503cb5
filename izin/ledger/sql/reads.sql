-- name: counts
-- How many keys are in each state, by brand, channel and desired status.
SELECT brand_code, channel, desired_status, state, count(*) AS keys
FROM consents GROUP BY brand_code, channel, desired_status, state
ORDER BY brand_code, channel, desired_status, state

-- name: unsettled
-- How many keys of a brand are in each state but those that are settled, by channel and desired status.
SELECT brand_code, channel, desired_status, state, count(*) AS keys FROM consents
WHERE brand_code = %(brand_code)s
    AND state IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown', 'parked')
GROUP BY brand_code, channel, desired_status, state ORDER BY channel, desired_status, state

-- name: register
-- One page of the register as the ledger has it, one row for each key, in the order of keys.
SELECT key, customer_id, brand_code, channel, recipient_type, recipient, desired_status, desired_at,
    desired_rank, desired_consent_date, desired_source, void_event_id, registered, registered_at, registered_consent_date,
    registered_source, registered_transaction_id, state, reason, code, due_at, expires_at, may_send,
    permission_reason
FROM consents
WHERE key > %(after)s AND (%(brand_code)s::integer IS NULL OR brand_code = %(brand_code)s)
ORDER BY key LIMIT %(size)s

-- name: keys-of
-- The keys of recipients, each looked up for every brand, channel and recipient type, that have a row or any history.
SELECT k.recipient, k.key
FROM (
    SELECT r.recipient, concat_ws('/', b.brand_code, way.channel, whose.recipient_type, r.recipient) AS key
    FROM unnest(%(recipients)s::text[]) AS r (recipient)
    CROSS JOIN (SELECT brand_code FROM brands UNION SELECT brand_code FROM unknown_brands) AS b
    CROSS JOIN unnest(ARRAY['ARAMA', 'EPOSTA', 'MESAJ']) AS way (channel)
    CROSS JOIN unnest(ARRAY['BIREYSEL', 'TACIR']) AS whose (recipient_type)
) AS k
LEFT JOIN consents AS c ON c.key = k.key
WHERE c.key IS NOT NULL OR EXISTS (
    SELECT FROM history AS m WHERE hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key)
ORDER BY k.recipient, k.key

-- name: history
-- The entries of these keys, in the order in which they were recorded.
SELECT m.shard, m.place, m.kind, m.customer_id, m.key, m.event_id, m.status, m.source, m.occurred_at, m.recorded_at,
    m.data, m.decision
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
ORDER BY m.recorded_at, m.shard, m.place

-- name: rows
-- The rows of these keys.
SELECT * FROM consents WHERE key = ANY(%(keys)s) ORDER BY key

-- name: memory
-- How large the consents are, and what memory and log this server gives them, in bytes.
SELECT pg_table_size('consents') AS consents, pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
    pg_size_bytes(current_setting('max_wal_size')) AS max_wal_size

-- name: lag
-- Count what is still due, for progress and alerts.
SELECT
    count(*) FILTER (WHERE state IN ('pending', 'retryable') AND action = 'send' AND brake_id IS NULL) AS to_send,
    count(*) FILTER (WHERE state IN ('pending', 'retryable') AND action = 'send' AND brake_id IS NULL
        AND desired_status = 'RET') AS opt_outs,
    count(*) FILTER (WHERE state IN ('pending', 'retryable') AND action = 'send' AND brake_id IS NOT NULL)
        AS held_back,
    count(*) FILTER (WHERE state = 'in_flight') AS in_flight,
    count(*) FILTER (WHERE state = 'awaiting_result') AS awaiting_result,
    count(*) FILTER (WHERE state = 'unknown') AS unknown,
    count(*) FILTER (WHERE action = 'query') AS to_query,
    count(*) FILTER (WHERE action IN ('wait', 'rescue')) AS waiting,
    count(*) FILTER (WHERE state = 'parked')
        + (SELECT count(*) FROM retailer_access WHERE desired_by IS NOT NULL) AS parked,
    count(*) FILTER (WHERE state IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown')
        AND due_at < %(now)s) AS overdue
FROM (
    SELECT state, action, desired_status, due_at, brake_id FROM consents
    WHERE state IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown', 'parked')
        AND action <> 'rescue'
    UNION ALL
    SELECT state, action, desired_status, due_at, brake_id FROM consents WHERE action = 'rescue'
    UNION ALL
    SELECT state, action, desired_status, due_at, brake_id FROM consents
    WHERE action = 'query' AND NOT onay_open AND NOT ret_open
        AND state NOT IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown', 'parked')
) AS unsettled

-- name: backlog
-- Count what is still to be submitted, by status and deadlines; what is suspended, or of a stopped brand, separately.
-- What is due within the same hour is one group, under its earliest instant.
WITH lanes AS (
    SELECT brand_code, channel, desired_status, expires_at, min(due_at) AS due_at, count(*) AS keys
    FROM consents WHERE state IN ('pending', 'retryable') AND action IN ('send', 'wait')
    GROUP BY brand_code, channel, desired_status, expires_at, date_trunc('hour', due_at)
)
SELECT lane.desired_status AS status, lane.due_at, lane.expires_at, sum(lane.keys)::bigint AS count,
    b.status = 'stopped' OR EXISTS (
        SELECT 1 FROM suspensions AS s
        WHERE s.brand_code = lane.brand_code AND covers(s, lane.channel, lane.desired_status)) AS suspended
FROM lanes AS lane JOIN brands AS b ON b.brand_code = lane.brand_code
    AND (%(customer_id)s::text IS NULL OR b.customer_id = %(customer_id)s)
GROUP BY lane.desired_status, lane.due_at, lane.expires_at, suspended
ORDER BY lane.desired_status DESC, lane.due_at, lane.expires_at

-- name: outbox
-- How many messages wait for Kafka.
SELECT count(*) AS rows FROM outbox

-- name: ingested
-- How far the topics are ingested.
SELECT topic, partition, next_offset FROM kafka_offsets ORDER BY topic, partition

-- name: living
-- How many sink workers run, and how many processes that deliver webhooks.
SELECT count(*) FILTER (WHERE w.owner IS NULL) AS workers, count(w.owner) AS webhooks
FROM processes AS p LEFT JOIN webhook_processes AS w ON w.owner = p.owner WHERE is_alive(p.owner)

-- name: parked-keys
-- The keys of a brand that wait for a person for a reason.
SELECT key, desired_event_id AS event_id, updated_at AS since FROM consents
WHERE state = 'parked' AND brand_code = %(brand_code)s AND reason = %(reason)s
UNION ALL
SELECT key, desired_by, since FROM retailer_access
WHERE desired_by IS NOT NULL AND brand_code = %(brand_code)s AND %(reason)s = 'retailer-access'
ORDER BY key

-- name: parked
-- Count what waits for a person, by reason.
SELECT brand_code, channel, desired_status, reason, code, count(*) AS keys
FROM consents WHERE state = 'parked'
GROUP BY brand_code, channel, desired_status, reason, code
UNION ALL
SELECT brand_code, channel, 'ONAY', 'retailer-access', NULL, count(*)
FROM retailer_access WHERE desired_by IS NOT NULL
GROUP BY brand_code, channel
ORDER BY brand_code, channel, desired_status, reason, code

-- name: rights
-- The role of this login, and where its rights differ from what deploy/postgres/roles.sql gives.
WITH login AS (
    SELECT CASE
        -- Without tables it is whoever makes them.
        WHEN pg_has_role(coalesce(
            (SELECT c.relowner FROM pg_class AS c WHERE c.oid = to_regclass('history')), current_user::regrole), 'USAGE')
            THEN 'owner'
        WHEN pg_has_role(to_regrole('izin_operator'), 'USAGE') THEN 'izin_operator'
        WHEN pg_has_role(to_regrole('izin_console'), 'USAGE') THEN 'izin_console'
        WHEN pg_has_role(to_regrole('izin_worker'), 'USAGE') THEN 'izin_worker'
        WHEN pg_has_role(to_regrole('izin_reader'), 'USAGE') THEN 'izin_reader'
        END AS role
), rights AS (
    SELECT p.privilege || ' on ' || c.relname AS name, has_table_privilege(c.oid, p.privilege) AS given,
        -- Not in it: those of the worker that are withheld, and those of the operator or the console alone.
        p.privilege <> 'TRUNCATE' AND c.relname !~ '^(history_\d\d\d\d_\d\d$|console_)' AND c.relname || ' ' || p.privilege <> ALL('{
            history UPDATE, history DELETE, anchors UPDATE, anchors DELETE, chains INSERT, chains DELETE,
            chain_cuts INSERT, chain_cuts UPDATE, chain_cuts DELETE, legal_holds INSERT, legal_holds UPDATE,
            legal_holds DELETE, history_months INSERT, history_months UPDATE, history_months DELETE,
            migrations INSERT, migrations UPDATE, migrations DELETE}'::text[]) AS of_worker,
        c.relname || ' ' || p.privilege = ANY('{
            legal_holds INSERT, legal_holds UPDATE, history_months UPDATE, chain_cuts INSERT, shadow_consents TRUNCATE,
            shadow_slices TRUNCATE, shadow_differences TRUNCATE}'::text[]) AS of_operator,
        p.privilege <> 'TRUNCATE' AND c.relname ~ '^console_' AS of_console
    FROM pg_class AS c
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p (privilege)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'EXECUTE on ' || f.name, has_function_privilege(to_regprocedure(f.name), 'EXECUTE'), f.name !~ '^drop_month', true, false
    FROM (VALUES
        ('create_month(date)'), ('drop_month(date, timestamptz)'),
        ('erase_history(text[], smallint[], bigint[], bytea[], timestamptz)')) AS f (name)
)
SELECT session_user::text AS login, l.role,
    coalesce(array_agg(r.name ORDER BY r.name) FILTER (WHERE NOT r.given), '{}') AS missing,
    coalesce(array_agg(r.name ORDER BY r.name) FILTER (WHERE r.given), '{}') AS too_wide
FROM login AS l
LEFT JOIN rights AS r ON l.role <> 'owner'
    AND r.given <> (CASE l.role WHEN 'izin_worker' THEN of_worker WHEN 'izin_operator' THEN of_worker OR of_operator
        WHEN 'izin_console' THEN of_worker OR of_console ELSE false END)
GROUP BY l.role
