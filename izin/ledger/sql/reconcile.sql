-- name: session
-- Sorts and hashes of a comparison go to disk beyond this; the tables of the session are its own.
SET work_mem = '48MB'

-- name: create-moving
-- The keys of which a message was still to be published when the comparison began.
CREATE TEMP TABLE moving AS SELECT DISTINCT key FROM outbox

-- name: create-seen
-- What İYS showed last of each key, as the history has it, and by which path.
CREATE TEMP TABLE seen (
    key text NOT NULL, customer_id text NOT NULL, value text, creation_date timestamptz, consent_date timestamptz,
    source text, transaction_id text, by text, ours boolean NOT NULL)

-- name: add-seen
-- Read the observations of a brand that were recorded in a period.
INSERT INTO seen
SELECT DISTINCT ON (m.key) m.key, m.customer_id, coalesce(m.data->>'registered', m.status),
    (m.data->>'creation_date')::timestamptz, (m.data->>'consent_date')::timestamptz, m.data->>'source',
    m.data->>'transaction_id', m.data->>'by', coalesce((m.data->>'ours')::boolean, false)
FROM history AS m
WHERE m.kind = 'observation' AND m.commitment IS NULL AND split_part(m.key, '/', 1) = %(brand)s
    AND (%(since)s::timestamptz IS NULL OR m.recorded_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR m.recorded_at < %(until)s)
ORDER BY m.key, (m.data->>'creation_date')::timestamptz DESC, m.recorded_at DESC, m.shard, m.place DESC

-- name: analyze-seen
-- Have the comparison planned by what the table has.
ANALYZE seen

-- name: create-asked
-- What İYS says of a key now, where that is not what the row says.
CREATE TEMP TABLE asked (
    key text PRIMARY KEY, value text NOT NULL, creation_date timestamptz, consent_date timestamptz, source text,
    transaction_id text, by text NOT NULL)

-- name: add-asked
-- Note an answer of İYS; a later one about the same key says more.
INSERT INTO asked (key, value, creation_date, consent_date, source, transaction_id, by)
SELECT * FROM unnest(%(keys)s::text[], %(values)s::text[], %(creations)s::timestamptz[], %(consents)s::timestamptz[],
    %(sources)s::text[], %(transactions)s::text[], %(paths)s::text[])
ON CONFLICT (key) DO UPDATE SET value = excluded.value, creation_date = excluded.creation_date,
    consent_date = excluded.consent_date, source = excluded.source, transaction_id = excluded.transaction_id,
    by = excluded.by

-- name: create-to-ask
-- The keys that İYS is asked about: those with a row of which nothing is due to İYS, and those without a row.
CREATE TEMP TABLE to_ask (key text PRIMARY KEY, registered text)

-- name: add-to-ask
-- Fill it for a brand, a channel and a period.
INSERT INTO to_ask
SELECT k.key, max(k.registered) FROM (
    SELECT c.key, c.registered FROM consents AS c
    WHERE c.brand_code = %(brand_code)s AND c.action = 'nothing' AND NOT c.onay_open AND NOT c.ret_open
        AND c.updated_at < %(began)s
        AND is_in_period(greatest(c.desired_at, c.registered_at), %(since)s, %(until)s)
    UNION ALL
    SELECT d.key, NULL FROM topic_desired AS d
    WHERE is_in_period(d.effective_at, %(since)s, %(until)s)
        AND NOT EXISTS (SELECT FROM consents AS c WHERE c.key = d.key)
    UNION ALL
    SELECT s.key, NULL FROM seen AS s
    WHERE is_in_period(s.creation_date, %(since)s, %(until)s)
        AND NOT EXISTS (SELECT FROM consents AS c WHERE c.key = s.key)
) AS k
WHERE (%(channel)s::text IS NULL OR split_part(k.key, '/', 2) = %(channel)s)
    AND NOT EXISTS (SELECT FROM erasures AS e
        WHERE e.key = k.key AND (e.removed_at IS NULL OR k.registered IS NULL))
    AND NOT EXISTS (SELECT FROM moving AS m WHERE m.key = k.key)
GROUP BY k.key

-- name: count-to-ask
-- How many they are, in groups that one call can ask about.
SELECT split_part(key, '/', 2) AS channel, split_part(key, '/', 3) AS recipient_type, count(*) AS keys
FROM to_ask GROUP BY channel, recipient_type ORDER BY channel, recipient_type

-- name: page-to-ask
-- One page of a group, in the order of keys.
SELECT key, registered FROM to_ask
WHERE split_part(key, '/', 2) = %(channel)s AND split_part(key, '/', 3) = %(recipient_type)s AND key > %(after)s
ORDER BY key LIMIT %(size)s

-- name: asked-of-many
-- One page of the keys about which the multiple query says something else than their row.
SELECT key FROM asked WHERE by = 'statuses' AND key > %(after)s ORDER BY key LIMIT %(size)s

-- name: sizes
-- How many keys each side has, and how many rows have changed since the comparison began.
SELECT
    (SELECT count(*) FROM consents WHERE brand_code = %(brand_code)s) AS rows,
    (SELECT count(*) FROM consents WHERE brand_code = %(brand_code)s AND updated_at >= %(began)s) AS changing,
    (SELECT count(*) FROM topic_desired) AS desired,
    (SELECT count(*) FROM topic_permissions) AS permissions,
    (SELECT count(*) FROM seen) AS seen

-- name: candidates
-- The keys of which any two sides may differ, in the order of keys, with all that is known of each. What is being
-- erased, was still to be published, or has changed since the comparison began is left out. The law of what differs is
-- izin.reconcile.judging; here is only what certainly does not.
SELECT c.*, k.key, coalesce(c.customer_id, s.customer_id, p.customer_id) AS customer_id, c.key IS NOT NULL AS has_row,
    d.status AS topic_status, d.effective_at AS topic_effective_at, d.rank AS topic_rank, d.event_id AS topic_event_id,
    d.partition AS topic_partition, d."offset" AS topic_offset, d.value AS topic_value,
    p.may_send AS published_may_send, p.reason AS published_reason, p.since AS published_since,
    p.retailers AS published_retailers, r.retailers,
    s.value AS seen_value, s.creation_date AS seen_creation_date, s.consent_date AS seen_consent_date,
    s.source AS seen_source, s.transaction_id AS seen_transaction_id, s.ours AS seen_is_ours,
    a.value AS asked_value, a.creation_date AS asked_creation_date, a.consent_date AS asked_consent_date,
    a.source AS asked_source, a.transaction_id AS asked_transaction_id
FROM (SELECT * FROM consents WHERE brand_code = %(brand_code)s) AS c
FULL JOIN topic_desired AS d ON d.key = c.key
FULL JOIN topic_permissions AS p ON p.key = coalesce(c.key, d.key)
FULL JOIN seen AS s ON s.key = coalesce(c.key, d.key, p.key)
CROSS JOIN LATERAL (SELECT coalesce(c.key, d.key, p.key, s.key) AS key) AS k
LEFT JOIN asked AS a ON a.key = k.key
LEFT JOIN LATERAL (SELECT string_agg(x.code::text, ',' ORDER BY x.code) AS retailers FROM (
    SELECT DISTINCT unnest(o.registered_code || coalesce(o.registered_access, '{}')) AS code
    FROM retailer_access AS o WHERE o.key = c.key AND c.may_send) AS x WHERE x.code IS NOT NULL) AS r ON true
WHERE (c.updated_at IS NULL OR c.updated_at < %(began)s)
    AND (%(channel)s::text IS NULL OR split_part(k.key, '/', 2) = %(channel)s)
    AND is_in_period(coalesce(greatest(c.desired_at, c.registered_at, d.effective_at, s.creation_date), p.since),
        %(since)s, %(until)s)
    AND NOT EXISTS (SELECT FROM erasures AS e WHERE e.key = k.key AND (e.removed_at IS NULL OR c.key IS NULL))
    AND NOT EXISTS (SELECT FROM moving AS m WHERE m.key = k.key)
    AND (c.key IS NULL OR c.desired_status IS NULL OR a.key IS NOT NULL
        OR (c.desired_status, c.desired_at, c.desired_rank, c.desired_event_id)
            IS DISTINCT FROM (d.status, d.effective_at, d.rank, d.event_id)
            AND (c.void_event_id = d.event_id) IS NOT TRUE
        OR (c.may_send, c.permission_reason) IS DISTINCT FROM (coalesce(p.may_send, false), p.reason)
        OR date_trunc('milliseconds', c.permission_since) IS DISTINCT FROM p.since
        OR p.may_send AND r.retailers IS DISTINCT FROM p.retailers
        OR c.may_send <> (c.registered = 'ONAY' AND c.desired_status <> 'RET' AND c.verified_at IS NOT NULL)
        OR c.action = 'nothing' AND NOT c.onay_open AND NOT c.ret_open AND (
            c.verified_at IS NULL AND c.registered IN ('ONAY', 'RET') OR c.registered = 'UNKNOWN'
            OR (c.desired_status = 'ONAY') <> (c.registered = 'ONAY')
            OR s.creation_date > c.registered_at AND s.value <> c.registered
            OR s.creation_date >= c.registered_at AND s.consent_date IS DISTINCT FROM c.registered_consent_date))
ORDER BY k.key

-- name: decided
-- The decisions on these keys, and where they were restored: the events to publish again.
SELECT m.key, m.decision
FROM unnest(%(keys)s::text[]) AS k (key)
JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(k.key, 0) AND m.key = k.key
WHERE m.kind IN ('decision', 'bootstrap')
ORDER BY m.key, m.recorded_at, m.shard, m.place

-- name: pulled
-- When both streams of a brand were last pulled to their end.
SELECT min(last_pulled_at) AS pulled_at FROM stream_cursors WHERE brand_code = %(brand_code)s

-- name: take-turn
-- One execution of repairs after the other, so that a page is done once.
SELECT pg_advisory_xact_lock(hashtext('izin.reconcile'))

-- name: is-done
-- Whether a page of a plan is done: its act is in the history.
SELECT FROM history AS m
WHERE hashtextextended(m.key, 0) = hashtextextended(%(key)s, 0) AND m.key = %(key)s AND m.source = %(source)s

-- name: create-listed
-- The recipients of a suppression list, for the length of this session.
CREATE TEMP TABLE listed (recipient text NOT NULL)

-- name: copy-listed
-- Add recipients.
COPY listed (recipient) FROM STDIN (FORMAT binary)

-- name: index-listed
-- Each recipient once.
CREATE TEMP TABLE listed_once AS SELECT DISTINCT recipient FROM listed

-- name: analyze-listed
-- Have the comparison planned by what the table has.
ANALYZE listed_once

-- name: list-differences
-- The recipients that opted out here and are not in the list, first, and those in the list who did not opt out here.
SELECT coalesce(c.recipient, l.recipient) AS recipient, c.key IS NOT NULL AND is_opted_out(c) AS is_here,
    c.desired_status, c.registered
FROM (SELECT * FROM consents
    WHERE brand_code = %(brand_code)s AND channel = %(channel)s AND recipient_type = %(recipient_type)s) AS c
FULL JOIN listed_once AS l ON l.recipient = c.recipient
WHERE (c.key IS NOT NULL AND is_opted_out(c)) <> (l.recipient IS NOT NULL)
ORDER BY is_here DESC, recipient

-- name: list-sizes
-- How many recipients opted out here, and how many of those are in the list.
SELECT count(*) AS here, count(l.recipient) AS both
FROM consents AS c LEFT JOIN listed_once AS l ON l.recipient = c.recipient
WHERE c.brand_code = %(brand_code)s AND c.channel = %(channel)s AND c.recipient_type = %(recipient_type)s
    AND is_opted_out(c)
