-- name: ingested
-- How far decisions are ingested, of which topics and cluster.
SELECT topic, partition, cluster_id, next_offset FROM kafka_offsets ORDER BY topic, partition

-- name: rebuild
-- Which rebuild the shadow is of. No row: it is empty.
SELECT rebuild FROM shadow_slices LIMIT 1

-- name: empty
-- Empty the shadow of an earlier rebuild.
TRUNCATE shadow_consents, shadow_slices, shadow_differences

-- name: begin-slice
-- Begin a slice. No row: it is done; while another process does it, this waits for its end.
INSERT INTO shadow_slices (rebuild, slice) VALUES (%(rebuild)s, %(slice)s)
ON CONFLICT DO NOTHING
RETURNING slice

-- name: slices
-- The slices that are done.
SELECT slice FROM shadow_slices WHERE rebuild = %(rebuild)s

-- name: replayed
-- The decisions and restorations of the whole history, in no order.
SELECT m.place, m.key, m.recorded_at, m.decision
FROM history AS m JOIN unnest(%(shards)s::smallint[], %(places)s::bigint[]) AS h (shard, place)
    ON h.shard = m.shard AND m.place <= h.place
WHERE m.kind IN ('decision', 'bootstrap') AND m.commitment IS NULL

-- name: every-erasure
-- The erasures that are known still: until when each erased its key, and when all before it was in the history.
SELECT key, requested_at, acknowledged_at, event_id FROM erasures WHERE key IS NOT NULL AND acknowledged_at IS NOT NULL

-- name: copy-in
-- Add rows of the shadow.
COPY shadow_consents ({shadow}, passed_over, parked) FROM STDIN (FORMAT binary)

-- name: erasures
-- The keys of a slice whose state was erased, and until when their history counts no more. A row that is still to be removed is not
-- compared.
SELECT key, requested_at, acknowledged_at, removed_at FROM erasures
WHERE hashtextextended(key, 0) BETWEEN %(low)s AND %(high)s AND acknowledged_at IS NOT NULL ORDER BY id

-- name: analyze
-- Count the shadow, so that its joins are planned for its size.
ANALYZE shadow_consents, shadow_differences

-- name: digests
-- The digest of what the history makes of the keys, and that of the rows that stand: of the row of each key, in the order
-- of keys, in 256 parts. Rows of keys that are known from İYS alone follow from no decision; those that desire an opt-out
-- in place of an opt-in that is void follow from what became of it at İYS.
WITH shadow AS (
    SELECT d.part, sha256(string_agg(d.digest, '' ORDER BY d.key COLLATE "C")) AS digest, count(*) AS keys
    FROM (
        SELECT s.key, hashtextextended(s.key, 0) & 255 AS part,
            sha256(convert_to(ROW(s.key, {decided:s})::text, 'UTF8')) AS digest
        FROM shadow_consents AS s
        WHERE s.desired_status IS NOT NULL
            AND NOT EXISTS (SELECT FROM consents AS v WHERE v.key = s.key AND v.void_event_id = s.desired_event_id)
    ) AS d GROUP BY d.part
), current AS (
    SELECT d.part, sha256(string_agg(d.digest, '' ORDER BY d.key COLLATE "C")) AS digest, count(*) AS keys
    FROM (
        SELECT c.key, hashtextextended(c.key, 0) & 255 AS part,
            sha256(convert_to(ROW(c.key, {decided:c})::text, 'UTF8')) AS digest
        FROM consents AS c
        WHERE c.desired_status IS NOT NULL
            AND NOT EXISTS (SELECT FROM shadow_consents AS v WHERE v.key = c.key AND v.desired_event_id = c.void_event_id)
            AND is_selected(c.key, %(keys)s::text[], %(recipients)s::text[], %(brands)s::text[])
    ) AS d GROUP BY d.part
)
SELECT encode(sha256(coalesce((SELECT string_agg(digest, '' ORDER BY part) FROM shadow), '')), 'hex') AS shadow,
    encode(sha256(coalesce((SELECT string_agg(digest, '' ORDER BY part) FROM current), '')), 'hex') AS current,
    coalesce((SELECT sum(keys) FROM shadow), 0)::bigint AS shadow_keys,
    coalesce((SELECT sum(keys) FROM current), 0)::bigint AS current_keys

-- name: forget-differences
-- Compare again.
TRUNCATE shadow_differences

-- name: compare
-- The keys whose row is not what the history makes of it. The terms of what is settled stay as they were counted; a row
-- whose registered state was lost has none. An opt-in of another customer may have the row, or may have left it; one that
-- is void has left it to the opt-out before it.
INSERT INTO shadow_differences (key, kind)
SELECT coalesce(s.key, c.key), CASE
        WHEN c.key IS NULL THEN 'missing'
        WHEN s.key IS NULL THEN 'surplus'
        WHEN c.desired_at IS NOT NULL AND (c.desired_event_id, c.desired_status) <> (s.desired_event_id, s.desired_status)
            AND (c.desired_at, c.desired_status = 'RET', c.desired_rank,
                c.desired_event_id COLLATE "C")
            > (s.desired_at, s.desired_status = 'RET', s.desired_rank, s.desired_event_id COLLATE "C") THEN 'newer'
        WHEN ROW({decided:s}) IS DISTINCT FROM ROW({decided:c})
            AND ROW({desired:s}) IS NOT DISTINCT FROM ROW({desired:c})
            AND coalesce(c.latest_onay_at >= s.latest_onay_at, s.latest_onay_at IS NULL)
            AND coalesce(c.latest_ret_at >= s.latest_ret_at, s.latest_ret_at IS NULL) THEN 'newer'
        WHEN ROW({decided:s}) IS DISTINCT FROM ROW({decided:c}) THEN 'differing'
        ELSE 'terms'
    END
FROM shadow_consents AS s
FULL JOIN (
    SELECT * FROM consents AS one
    WHERE is_selected(one.key, %(keys)s::text[], %(recipients)s::text[], %(brands)s::text[])
) AS c ON c.key = s.key
WHERE CASE
    WHEN s.key IS NULL THEN c.desired_status IS NOT NULL
    WHEN c.key IS NULL THEN true
    WHEN c.void_event_id = s.desired_event_id THEN false
    ELSE (ROW({decided:s}) IS DISTINCT FROM ROW({decided:c})
            AND (s.passed_over IS NULL OR s.passed_over <> c.desired_event_id))
        OR (c.state IN ('pending', 'retryable', 'parked')
            AND (c.registered <> 'UNKNOWN' OR c.verified_by IS DISTINCT FROM 'bootstrap')
            AND (s.due_at, s.expires_at) IS DISTINCT FROM (c.due_at, c.expires_at))
END

-- name: pass-over
-- Leave alone what is being erased, what was erased and is known again by the same event, and what was decided since.
DELETE FROM shadow_differences AS d
WHERE EXISTS (SELECT FROM erasures AS e WHERE e.key = d.key AND e.acknowledged_at IS NOT NULL AND e.removed_at IS NULL)
    OR EXISTS (
        SELECT FROM erasures AS e JOIN shadow_consents AS s ON s.key = e.key JOIN consents AS c ON c.key = e.key
        WHERE e.key = d.key AND s.desired_event_id = c.desired_event_id)
    OR d.key IN (
        SELECT m.key
        FROM history AS m JOIN unnest(%(shards)s::smallint[], %(places)s::bigint[]) AS h (shard, place)
            ON h.shard = m.shard AND m.place > h.place
        WHERE m.recorded_at >= %(since)s AND m.kind IN ('decision', 'bootstrap') AND m.key IS NOT NULL)

-- name: forget-erased
-- Leave alone what was erased since the plan was made: what the history makes of it is older.
DELETE FROM shadow_differences AS d USING erasures AS e WHERE e.key = d.key AND e.acknowledged_at >= %(made_at)s

-- name: count-differences
-- How many keys differ, by kind.
SELECT kind, count(*) AS keys FROM shadow_differences GROUP BY kind ORDER BY kind

-- name: differences
-- The first keys that differ, with both rows.
SELECT d.key, d.kind, to_jsonb(s) AS shadow, to_jsonb(c) AS current
FROM shadow_differences AS d
LEFT JOIN shadow_consents AS s ON s.key = d.key LEFT JOIN consents AS c ON c.key = d.key
ORDER BY d.key LIMIT %(size)s

-- name: to-repair
-- One page of what the history makes of keys whose rows are missing or differ, without those that are repaired just now.
SELECT s.* FROM shadow_differences AS d JOIN shadow_consents AS s ON s.key = d.key
WHERE d.key > %(after)s AND d.kind IN ('missing', 'differing', 'terms')
ORDER BY d.key LIMIT %(size)s
FOR UPDATE OF d SKIP LOCKED

-- name: repaired
-- These keys are repaired, or left as they are.
DELETE FROM shadow_differences WHERE key = ANY(%(keys)s)

-- name: open-items
-- What was submitted of these keys and is unanswered, with the state of each call.
SELECT i.key, i.event_id, i.status, s.state FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id
WHERE i.key = ANY(%(keys)s) AND i.state = 'open' AND s.state <> 'settled'

-- name: is-alone
-- Whether no other process of the sinks runs, and which do.
SELECT is_alone(%(owner)s) AS is_alone, cardinality(array_remove(living(), %(owner)s)) AS others

-- name: session
-- What a session of a rebuild needs: room to sort, and texts of instants that do not depend on the server.
SELECT set_config('work_mem', '64MB', false), set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false)
