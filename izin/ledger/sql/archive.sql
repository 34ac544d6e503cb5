-- name: heads
-- The heads of the chains that have rows.
SELECT shard, place, link FROM chains WHERE place > 0 ORDER BY shard

-- name: copy-out
-- The rows of one month in ranges of places, chain by chain, in order.
COPY (
    SELECT m.recorded_at, m.occurred_at, m.place, m.shard, m.kind, m.link, m.salt, m.key, m.customer_id, m.event_id,
        m.status, m.source, m.data, m.decision, m.commitment
    FROM history AS m
    JOIN unnest(%(shards)s::smallint[], %(firsts)s::bigint[], %(lasts)s::bigint[]) AS r (shard, first, last)
        ON r.shard = m.shard AND m.place BETWEEN r.first AND r.last
    WHERE m.recorded_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
        AND m.recorded_at < (%(month)s::timestamp + interval '1 month') AT TIME ZONE 'UTC'
    ORDER BY m.shard, m.place
) TO STDOUT (FORMAT binary)

-- name: erasures
-- The rows that acts of erasure name, behind these places.
SELECT m.data -> 'after' -> 'places' AS places
FROM history AS m JOIN unnest(%(shards)s::smallint[], %(places)s::bigint[]) AS h (shard, place)
    ON h.shard = m.shard AND m.place > h.place
WHERE m.kind = 'act' AND m.data ->> 'act' = 'erase history'

-- name: registry
-- What the rows of consents depend on besides the history, how the history is retained, and complaints, of everybody or
-- of one customer. Nothing of it names a recipient but complaints, legal holds and erasures. Secrets of subscribers are
-- left out; so are, for one customer, the hashes of keys' secrets.
SELECT jsonb_build_object(
    'customers', (SELECT jsonb_agg(t) FROM customers AS t WHERE g.is_whole OR t.customer_id = g.customer_id),
    'brands', (SELECT jsonb_agg(t) FROM brands AS t WHERE g.is_whole OR t.customer_id = g.customer_id),
    'unknown_brands', (SELECT jsonb_agg(t) FROM unknown_brands AS t WHERE g.is_whole),
    'suspension_orders', (
        SELECT jsonb_agg(t) FROM suspension_orders AS t
        WHERE g.is_whole OR t.customer_id = g.customer_id OR t.brand_code = ANY(g.brand_codes)),
    'suspensions', (SELECT jsonb_agg(t) FROM suspensions AS t WHERE g.is_whole OR t.customer_id = g.customer_id),
    'api_keys', (
        SELECT jsonb_agg(CASE WHEN g.is_whole THEN to_jsonb(t) ELSE to_jsonb(t) - 'secret_hash' END) FROM api_keys AS t
        WHERE g.is_whole OR t.customers = ARRAY[g.customer_id]),
    'legal_holds', (SELECT jsonb_agg(t) FROM legal_holds AS t WHERE g.is_whole OR t.customer_id = g.customer_id),
    'complaints', (SELECT jsonb_agg(t) FROM complaints AS t WHERE g.is_whole OR t.customer_id = g.customer_id),
    'erasures', (SELECT jsonb_agg(t) FROM erasures AS t WHERE g.is_whole OR t.customer_id = g.customer_id),
    'retailer_access', (
        SELECT jsonb_agg(t) FROM retailer_access AS t
        WHERE g.is_whole OR t.brand_code = ANY(g.brand_codes)),
    'history_months', (SELECT jsonb_agg(t) FROM history_months AS t WHERE g.is_whole),
    'chain_cuts', (SELECT jsonb_agg(t) FROM chain_cuts AS t WHERE g.is_whole),
    'anchors', (SELECT jsonb_agg(t) FROM anchors AS t WHERE g.is_whole)) AS tables
FROM (
    SELECT %(customer_id)s::text IS NULL AS is_whole, %(customer_id)s::text AS customer_id,
        ARRAY(SELECT brand_code FROM brands WHERE customer_id = %(customer_id)s) AS brand_codes
) AS g

-- name: contents
-- Whether the ledger has anything that a restoration would meet.
SELECT (SELECT count(*) FROM consents) AS consents, (SELECT count(*) FROM submissions) AS submissions,
    (SELECT coalesce(sum(place), 0)::bigint FROM chains) AS entries

-- name: load-customers
-- Put the customers back.
INSERT INTO customers SELECT t.* FROM jsonb_populate_recordset(NULL::customers, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: load-brands
-- Put the brands back.
INSERT INTO brands SELECT t.* FROM jsonb_populate_recordset(NULL::brands, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: load-unknown_brands
-- Put the brands back that events named and nobody had registered.
INSERT INTO unknown_brands SELECT t.* FROM jsonb_populate_recordset(NULL::unknown_brands, %(rows)s::jsonb) AS t
ON CONFLICT DO NOTHING

-- name: load-suspension_orders
-- Put the orders of people to suspend back.
INSERT INTO suspension_orders OVERRIDING SYSTEM VALUE
SELECT t.* FROM jsonb_populate_recordset(NULL::suspension_orders, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: load-suspensions
-- Put the suspensions back.
INSERT INTO suspensions SELECT t.* FROM jsonb_populate_recordset(NULL::suspensions, %(rows)s::jsonb) AS t
ON CONFLICT DO NOTHING

-- name: load-api_keys
-- Put the API keys back: the hashes of their secrets, and what has ended since, also for customers that were offboarded.
INSERT INTO api_keys AS k SELECT t.* FROM jsonb_populate_recordset(NULL::api_keys, %(rows)s::jsonb) AS t
ON CONFLICT (id) DO UPDATE SET
    customers = ARRAY(SELECT unnest(k.customers) INTERSECT SELECT unnest(excluded.customers) ORDER BY 1),
    brands = ARRAY(SELECT unnest(k.brands) INTERSECT SELECT unnest(excluded.brands) ORDER BY 1),
    expires_at = coalesce(excluded.expires_at, k.expires_at),
    revoked_at = coalesce(excluded.revoked_at, k.revoked_at), replaced_at = coalesce(excluded.replaced_at, k.replaced_at)

-- name: load-legal_holds
-- Put the legal holds back.
INSERT INTO legal_holds OVERRIDING SYSTEM VALUE
SELECT t.* FROM jsonb_populate_recordset(NULL::legal_holds, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: load-complaints
-- Put the complaints back.
INSERT INTO complaints OVERRIDING SYSTEM VALUE
SELECT t.* FROM jsonb_populate_recordset(NULL::complaints, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: load-erasures
-- Put the erasures back.
INSERT INTO erasures OVERRIDING SYSTEM VALUE
SELECT t.* FROM jsonb_populate_recordset(NULL::erasures, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: load-retailer_access
-- Put the retailers of consents back.
INSERT INTO retailer_access SELECT t.* FROM jsonb_populate_recordset(NULL::retailer_access, %(rows)s::jsonb) AS t
ON CONFLICT DO NOTHING

-- name: load-history_months
-- Create the months of the history again, each with its retention; what was dropped stays dropped.
WITH rows AS MATERIALIZED (
    SELECT t.* FROM jsonb_populate_recordset(NULL::history_months, %(rows)s::jsonb) AS t
), gone AS (
    INSERT INTO history_months SELECT r.* FROM rows AS r WHERE r.dropped_at IS NOT NULL ON CONFLICT DO NOTHING
)
SELECT create_month(r.month) FROM rows AS r WHERE r.dropped_at IS NULL

-- name: retain-history_months
-- Retain each month as it was.
UPDATE history_months AS m SET retain_until = t.retain_until
FROM jsonb_populate_recordset(NULL::history_months, %(rows)s::jsonb) AS t WHERE t.month = m.month

-- name: load-chain_cuts
-- Put back where the chains start after months were dropped.
INSERT INTO chain_cuts SELECT t.* FROM jsonb_populate_recordset(NULL::chain_cuts, %(rows)s::jsonb) AS t
ON CONFLICT DO NOTHING

-- name: load-anchors
-- Put the anchors back.
INSERT INTO anchors OVERRIDING SYSTEM VALUE
SELECT t.* FROM jsonb_populate_recordset(NULL::anchors, %(rows)s::jsonb) AS t ON CONFLICT DO NOTHING

-- name: lock-chain
-- The head of a chain, locked.
SELECT place, link FROM chains WHERE shard = %(shard)s FOR UPDATE

-- name: begin-chain
-- Begin a chain behind what was dropped of it.
UPDATE chains SET place = %(place)s, link = %(link)s WHERE shard = %(shard)s AND place = 0

-- name: copy-in
-- Put rows of the history back as they were.
COPY history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, event_id, status, source,
    data, decision, commitment) FROM STDIN (FORMAT binary)

-- name: continue-numbers
-- Numbers that the history or an anchor names are not given again; with the last batch of deliveries that it names.
WITH named AS MATERIALIZED (
    SELECT split_part(source, '/', 1) AS what, max(split_part(source, '/', 2)::bigint) AS number
    FROM history WHERE source ~ '^(submission|outbox|deliveries)/[0-9]+' GROUP BY what
), last AS (
    SELECT max(number) FILTER (WHERE what = 'submission') AS submission, max(number) FILTER (WHERE what = 'outbox') AS outbox,
        coalesce(max(number) FILTER (WHERE what = 'deliveries'), 0) AS batch
    FROM named
)
SELECT last.batch, setval('submissions_id_seq', greatest(last.submission, (SELECT last_value FROM submissions_id_seq))),
    setval('outbox_id_seq', greatest(last.outbox, (SELECT last_value FROM outbox_id_seq))),
    setval('delivery_batches', greatest(last.batch, (SELECT last_value FROM delivery_batches))),
    setval('anchors_id_seq', greatest(%(anchor)s, (SELECT last_value FROM anchors_id_seq))),
    setval('erasures_id_seq', greatest((SELECT max(id) FROM erasures), (SELECT last_value FROM erasures_id_seq))),
    setval('legal_holds_id_seq', greatest((SELECT max(id) FROM legal_holds), (SELECT last_value FROM legal_holds_id_seq))),
    setval('complaints_id_seq', greatest((SELECT max(id) FROM complaints), (SELECT last_value FROM complaints_id_seq))),
    setval('suspension_orders_id_seq',
        greatest((SELECT max(id) FROM suspension_orders), (SELECT last_value FROM suspension_orders_id_seq)))
FROM last

-- name: add-erased
-- Keep the erasures of keys whose suppressions say so and which this ledger does not have: they never come back. Their
-- consents ended then at the latest.
INSERT INTO erasures (customer_id, key, event_id, requested_at, check_at, acknowledged_at, last_event_id, removed_at,
    ended_at)
SELECT n.customer_id, n.key, n.event_id, n.until, %(now)s, %(now)s, '', %(now)s, n.until
FROM unnest(%(customers)s::text[], %(keys)s::text[], %(event_ids)s::text[], %(untils)s::timestamptz[])
    AS n (customer_id, key, event_id, until)
WHERE NOT EXISTS (SELECT FROM erasures AS e WHERE e.key = n.key AND e.requested_at >= n.until)
