-- Forty customers with a hundred brands: ours is there, and its first brand has a record. {shared} is its recipient,
-- who has a record with every brand. Recipients of the others end in 77, 88 or 99, so that one is known masked too.

INSERT INTO customers (customer_id, name, created_at)
    SELECT 'foreign-' || n, 'Yabancı ' || n, now() FROM generate_series(1, 39) AS n;
INSERT INTO brands (brand_code, iys_code, customer_id, name, activated_at, updated_at, subscription)
    SELECT 900000 + n, 900000 + n, 'foreign-' || 1 + n % 39, 'Yabancı marka ' || n, '2020-01-01', now(), 'ACTIVE'
    FROM generate_series(1, 98) AS n;
CREATE TEMPORARY TABLE every_brand AS SELECT brand_code, customer_id,
    CASE WHEN brand_code < 900000 THEN '+90555' || brand_code || '1' ELSE '+90559' || right(brand_code::text, 3) || '0177'
        END AS parked,
    CASE WHEN brand_code < 900000 THEN '+90555' || brand_code || '2' ELSE '+90559' || right(brand_code::text, 3) || '0288'
        END AS opted_out
    FROM brands;
INSERT INTO consents SELECT (jsonb_populate_record(c, jsonb_build_object('key', concat_ws('/', b.brand_code, 'MESAJ',
        'BIREYSEL', w.recipient), 'recipient', w.recipient, 'brand_code', b.brand_code, 'customer_id', b.customer_id,
        'state', w.state, 'reason', 'reconsent', 'desired_status', w.status, 'latest_ret_at', now(),
        'due_at', now() - interval '1 day'))).*
    FROM consents AS c, every_brand AS b, LATERAL (VALUES
        (b.parked, 'parked', 'ONAY'), (b.opted_out, 'retryable', 'RET'),
        ('{shared}', 'accepted', 'ONAY')) AS w (recipient, state, status)
    WHERE b.brand_code <> c.brand_code OR w.recipient <> '{shared}';
INSERT INTO suspensions (brand_code, channel, status, customer_id, code, reason, since)
    SELECT brand_code, 'ARAMA', '*', customer_id, 'no-right', 'by ' || customer_id, now() FROM every_brand;
INSERT INTO suspensions (brand_code, channel, status, customer_id, code, reason, since, recheck_at)
    SELECT brand_code, '*', '*', customer_id, 'H077', 'by ' || customer_id, now(), now() + interval '1 hour'
    FROM every_brand;
INSERT INTO suspension_orders (customer_id, part, reason, ordered_by, since)
    SELECT DISTINCT customer_id, 'gate', 'audit of ' || customer_id, 'ada', now() FROM every_brand;
INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels, created_at)
    SELECT lpad(to_hex(row_number() OVER ()), 12, '0') || '-1', 'key-' || customer_id, sha256('fake'), '{ask}',
        ARRAY[customer_id], '{}', '{}', now() FROM (SELECT DISTINCT customer_id FROM every_brand) AS c;
INSERT INTO subscribers (name, customer_id, url, types, brands, channels, origins, parallel, secret, created_at,
        caught_up_at)
    SELECT 'crm-' || customer_id, customer_id, 'https://' || customer_id || '.example.com', '{consent.opted-out}', '{}',
        '{}', '{}', 1, 'whsec_fake', now(), now() FROM (SELECT DISTINCT customer_id FROM every_brand) AS c;
INSERT INTO sequences SELECT DISTINCT customer_id, 'crm', 1, 9 FROM every_brand;
INSERT INTO sequence_gaps SELECT DISTINCT customer_id, 'crm', 4, 6, now() - interval '1 day' FROM every_brand;
INSERT INTO legal_holds (customer_id, reason, since)
    SELECT DISTINCT customer_id, 'court of ' || customer_id, now() FROM every_brand;
INSERT INTO erasures (customer_id, key, event_id, requested_at, check_at)
    SELECT customer_id, brand_code || '/MESAJ/BIREYSEL/' || parked, 'e' || brand_code, now(), now() FROM every_brand;
INSERT INTO brakes (customer_id, brand_code, source, tripped_at, keys, opted_in, share)
    SELECT customer_id, brand_code, 'crm of ' || customer_id, now(), 9, 90, 5 FROM every_brand;
INSERT INTO register_counts SELECT brand_code, now(), 9, 9, 1, 1, 0, 0 FROM every_brand;
INSERT INTO retailer_access (key, customer_id, brand_code, channel, desired_by, desired_code, since)
    SELECT brand_code || '/MESAJ/BIREYSEL/' || parked, customer_id, brand_code, 'MESAJ', 'e', 7, now() FROM every_brand;
INSERT INTO sweeps (customer_id, brand_code, reason, started_at, keys, after)
    SELECT customer_id, brand_code, 'order', now(), 1, brand_code || '/' FROM every_brand;
INSERT INTO complaints (customer_id, brand_code, channel, recipient, sent_at, sender, content, entered_at, entered_by,
        hold_ids)
    SELECT customer_id, brand_code, 'MESAJ', parked, now(), customer_id, 'x', now(), 'ada', '{}'
    FROM every_brand;
INSERT INTO submissions (customer_id, brand_code, kind, state, intended_at)
    SELECT customer_id, brand_code, 'single', 'settled', now() FROM every_brand;
INSERT INTO granted_brands (account, brand_code, iys_code, name, writes, reads, listed_at)
    SELECT 'ada', brand_code + n, brand_code, 'of ' || customer_id, '{ARAMA}', '{ARAMA}', now()
    FROM every_brand CROSS JOIN (VALUES (0), (50000)) AS o (n);
INSERT INTO kafka_offsets (topic, partition, next_offset, cluster_id, topic_id, read_until)
    SELECT topic, 0, 1, 'cluster', 'topic', now()
    FROM unnest(ARRAY['{prefix}consent-events', '{prefix}consent-events-express']) AS t (topic);
