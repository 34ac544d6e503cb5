-- name: months
-- The months of history, in order: retained until when and by whose order, and how large.
SELECT m.month, m.retain_until,
    pg_total_relation_size(to_regclass('history_' || to_char(m.month, 'YYYY_MM'))) AS bytes,
    (SELECT f.data ->> 'by' FROM history AS f
        WHERE hashtextextended(f.key, 0) = hashtextextended('retention/' || to_char(m.month, 'YYYY-MM'), 0)
            AND f.key = 'retention/' || to_char(m.month, 'YYYY-MM')
        ORDER BY f.recorded_at DESC, f.occurred_at DESC LIMIT 1) AS kept_by
FROM history_months AS m WHERE m.dropped_at IS NULL ORDER BY m.month

-- name: by-index
-- Have the next statements of this transaction look things up, or not: what PostgreSQL expects of a month that was not
-- analysed yet may be wrong by so much that it would read the whole of it.
SELECT set_config(setting, CASE WHEN %(by_index)s THEN 'off' ELSE 'on' END, true)
FROM (VALUES ('enable_seqscan'), ('enable_bitmapscan')) AS whole (setting)

-- name: held
-- The legal holds on any of a month's history. Each customer and each key is looked up there. The customer of a key is
-- compared so that no index of customers is taken for it.
SELECT h.id
FROM (SELECT DISTINCT customer_id FROM legal_holds WHERE released_at IS NULL AND key IS NULL) AS c
CROSS JOIN LATERAL (
    SELECT FROM history AS f
    WHERE f.customer_id = c.customer_id
        AND f.recorded_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
        AND f.recorded_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC'
    LIMIT 1) AS of_customer
JOIN legal_holds AS h ON h.customer_id = c.customer_id AND h.released_at IS NULL AND h.key IS NULL
UNION ALL
SELECT h.id FROM legal_holds AS h
CROSS JOIN LATERAL (
    SELECT FROM history AS f
    WHERE hashtextextended(f.key, 0) = hashtextextended(h.key, 0) AND f.key = h.key
        AND f.customer_id || '' = h.customer_id
        AND f.recorded_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
        AND f.recorded_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC'
    LIMIT 1) AS of_key
WHERE h.released_at IS NULL AND h.key IS NOT NULL
ORDER BY id

-- name: is-needed
-- A row where a key in a month of history has a consent that stands, or that ended after a day; its row may be erased.
SELECT 1 FROM (
    SELECT c.key FROM consents AS c
    WHERE c.desired_status = 'ONAY' OR c.registered = 'ONAY' OR c.latest_ret_at >= %(ended)s
    UNION ALL
    SELECT e.key FROM erasures AS e WHERE e.key IS NOT NULL AND e.ended_at >= %(ended)s
) AS needed
WHERE EXISTS (
        SELECT 1 FROM history AS f
        WHERE hashtextextended(f.key, 0) = hashtextextended(needed.key, 0) AND f.key = needed.key
            AND f.recorded_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
            AND f.recorded_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC')
LIMIT 1

-- name: retain
-- Change how long a month is retained; returns the day before the change.
UPDATE history_months AS m SET retain_until = %(until)s
FROM (SELECT month, retain_until FROM history_months WHERE month = %(month)s FOR UPDATE) AS old
WHERE m.month = old.month AND m.dropped_at IS NULL
RETURNING old.retain_until AS before

-- name: begin
-- One process at a time, with a short lock timeout: writers wait while a month is dropped.
SELECT pg_advisory_xact_lock(hashtext('izin.history')), set_config('lock_timeout', '5s', true)

-- name: cut
-- Store the last link of every chain in a month.
INSERT INTO chain_cuts (shard, place, link, cut_at)
SELECT DISTINCT ON (shard) shard, place, link, %(now)s::timestamptz FROM history
WHERE recorded_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
    AND recorded_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC'
ORDER BY shard, place DESC
ON CONFLICT DO NOTHING
RETURNING shard, place, link

-- name: anchor
-- Anchor the cuts, to be published like other anchors; a place that was anchored before already is.
INSERT INTO anchors (shard, place, link, anchored_at)
SELECT c.shard, c.place, c.link, %(now)s
FROM unnest(%(shards)s::smallint[], %(places)s::bigint[], %(links)s::bytea[]) AS c (shard, place, link)
ON CONFLICT (shard, place) DO NOTHING
RETURNING id, shard, place, link, anchored_at

-- name: drop
-- Drop a month.
SELECT drop_month(%(month)s, %(now)s)

-- name: drop-deliveries
-- Drop the deliveries whose digests were in that month.
DELETE FROM deliveries
WHERE recorded_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
    AND recorded_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC'

-- name: drop-daily-files
-- Drop İYS's daily files that were noted in that month, with their lines.
DELETE FROM daily_files
WHERE noted_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
    AND noted_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC'

-- name: knows
-- A row where the ledger has anything of a customer: a legal hold of any other would have no effect.
SELECT 1 WHERE EXISTS (SELECT 1 FROM brands WHERE customer_id = %(customer_id)s)
    OR EXISTS (SELECT 1 FROM consents WHERE customer_id = %(customer_id)s)
    OR EXISTS (SELECT 1 FROM history WHERE customer_id = %(customer_id)s)

-- name: keys-of
-- The keys among these that are or were a customer's.
SELECT k.key FROM unnest(%(keys)s::text[]) AS k (key)
WHERE EXISTS (SELECT 1 FROM consents AS c WHERE c.key = k.key AND c.customer_id = %(customer_id)s)
    OR EXISTS (
        SELECT 1 FROM history AS f
        WHERE hashtextextended(f.key, 0) = hashtextextended(k.key, 0) AND f.key = k.key
            AND f.customer_id = %(customer_id)s)
ORDER BY k.key

-- name: add-hold
-- Add a legal hold: nothing of a customer, or of one of its keys, is dropped.
INSERT INTO legal_holds (customer_id, key, reason, since) VALUES (%(customer_id)s, %(key)s, %(reason)s, %(now)s)
RETURNING id

-- name: release-hold
-- Release a legal hold.
UPDATE legal_holds SET released_at = %(now)s WHERE id = %(id)s AND released_at IS NULL
RETURNING customer_id, key, reason

-- name: holds
-- The legal holds in force.
SELECT id, customer_id, key, reason, since FROM legal_holds WHERE released_at IS NULL ORDER BY id
