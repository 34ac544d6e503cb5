-- Two customers with a brand each, and a brand that nobody has registered: of every table that a reader sees through a view
-- a row of each. {secret} is in what no view may show, {shared} a recipient of all brands. What an event says of its
-- customer is not true.

INSERT INTO customers (customer_id, name, created_at, mersis)
    VALUES ('acme', 'Acme', now(), '0123456789000015'), ('beta', 'beta', now(), NULL);
INSERT INTO brands (brand_code, iys_code, customer_id, name, updated_at, suspension, account, egress_address)
    VALUES (100001, 1, 'acme', 'Acme', now(), '{secret}', '{secret}', '{secret}'),
        (200001, 2, 'beta', 'beta', now(), '{secret}', '{secret}', '{secret}');
INSERT INTO unknown_brands VALUES (300001, now());
CREATE TEMPORARY TABLE every AS SELECT b.brand_code, b.customer_id, w.channel, w.recipient,
        concat_ws('/', b.brand_code, w.channel, 'BIREYSEL', w.recipient) AS key
    FROM (SELECT brand_code, customer_id FROM brands UNION SELECT 300001, 'gamma') AS b JOIN (VALUES
        (100001, 'MESAJ', '{phone}'), (100001, 'EPOSTA', '{email}'), (100001, 'MESAJ', '{shared}'),
        (200001, 'MESAJ', '{theirs}'), (200001, 'MESAJ', '{shared}'), (300001, 'MESAJ', '{shared}'))
        AS w (brand_code, channel, recipient) ON w.brand_code = b.brand_code;
INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient, desired_status, desired_at,
        desired_event_id, desired_origin, desired_origin_ref, desired_source, notice_version, registrable, attested,
        registered, registered_transaction_id, verified_by, state, action, reason, attempts, lease_owner, onay_open,
        ret_open, may_send, updated_at)
    -- An event may lie about its customer, and a source may name its recipient.
    SELECT key, 'acme', brand_code, channel, 'BIREYSEL', recipient, 'ONAY', now(), recipient, '{secret}', recipient,
        'of ' || recipient, '{secret}', true, true, 'ONAY', md5(recipient), '{secret}', 'accepted', 'nothing',
        'by ' || recipient, 0, '{secret}', false, false, true, now() FROM every;
INSERT INTO history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, event_id, status, source,
        data)
    SELECT now(), now(), row_number() OVER (), 0, kind, '', decode(repeat('00', 16), 'hex'), every.key, 'acme', recipient, 'ONAY',
        'x/' || recipient, json_build_object('act', 'requeue', 'by', 'ada', 'before', json '{}', 'after',
            json_build_object('reason', '{secret}', 'more', recipient))
    FROM every, (VALUES ('act'), ('answer')) AS k (kind);
INSERT INTO history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, source, data)
    SELECT now(), now(), 90 + row_number() OVER (), 0, 'act', '', decode(repeat('00', 16), 'hex'), 'customer/' || customer_id, customer_id, 'x',
        json_build_object('act', 'change', 'by', 'eve@example.com', 'before', json '{}', 'after', json '{}')
    FROM customers;
INSERT INTO submissions (customer_id, brand_code, kind, state, intended_at, body, request_id, sub_request_ids)
    SELECT customer_id, brand_code, 'single', 'intent', now(), '{secret}', '{secret}', '{"{secret}"}' FROM brands;
INSERT INTO submission_items (submission_id, index, customer_id, key, event_id, status, source, attempt, origin,
        origin_ref, state)
    SELECT brand_code, row_number() OVER (), 'acme', key, recipient, 'ONAY', '{secret}', 1, '{secret}', recipient, 'open'
    FROM every;
INSERT INTO suspensions (brand_code, channel, status, customer_id, code, reason, since)
    SELECT brand_code, '*', '*', customer_id, 'H077', '{secret}', now() FROM brands;
INSERT INTO suspension_orders (customer_id, part, reason, ordered_by, since)
    SELECT customer_id, 'gate', '{secret}', 'ada', now() FROM brands;
INSERT INTO brakes (customer_id, brand_code, source, tripped_at, keys, opted_in, share)
    SELECT customer_id, brand_code, '{phone}', now(), 9, 90, 5 FROM brands;
INSERT INTO complaints (customer_id, brand_code, channel, recipient, sent_at, sender, content, reference, entered_at,
        entered_by, hold_ids, note)
    SELECT customer_id, brand_code, 'MESAJ', recipient, now(), '{secret}', '{secret}', '{secret}', now(), 'ada', '{}',
        '{secret}' FROM every JOIN brands USING (brand_code, customer_id);
INSERT INTO erasures (customer_id, key, event_id, last_event_id, requested_at, check_at)
    SELECT customer_id, key, 'e' || key, recipient, now(), now() FROM every;
INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels, created_at)
    SELECT lpad(brand_code::text, 12, '0') || '-1', 'key-' || customer_id, sha256('{secret}'), '{ask}',
        ARRAY[customer_id], ARRAY[brand_code], '{}', now() FROM brands;
INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels, created_at)
    VALUES ('ffffffffffff-1', 'of-both', sha256('x'), '{ask}', '{acme,beta}', '{100001,200001}', '{}', now());
INSERT INTO subscribers (name, customer_id, url, types, brands, channels, origins, parallel, secret, last_failure,
        created_at, caught_up_at)
    SELECT 'crm-' || customer_id, customer_id, 'https://user:{secret}@crm.example.com/{secret}?token={secret}', '{}',
        '{}', '{}', '{"{secret}"}', 1, 'whsec_{secret}', '{secret}', now(), now() FROM brands;
INSERT INTO deliveries (batch, place, subscriber_id, customer_id, type, topic, partition, "offset", attempts, status,
        delivered_at, recorded_at, commitment, salt, webhook_id, key)
    SELECT brand_code, row_number() OVER (), 1, customer_id, 'consent.outcome', '{secret}', 0, 0, 1, 200, now(), now(), '', '',
        recipient, key FROM every;
INSERT INTO daily_files (brand_code, day, noted_at, next_attempt_at, error, hash_value)
    SELECT brand_code, current_date, now(), now(), '{secret}', '{secret}' FROM brands;
INSERT INTO stream_cursors (brand_code, stream, after, failure) SELECT brand_code, 'IYS', '{secret}', '{secret}' FROM brands;
INSERT INTO register_counts SELECT brand_code, now(), 9, 9, 1, 1, 0, 0 FROM brands;
INSERT INTO sequences SELECT customer_id, '{phone}', 1, 9 FROM customers;
INSERT INTO sequence_gaps SELECT customer_id, '{phone}', 4, 6, now() FROM customers;
INSERT INTO access_tokens (account, access_token, refresh_token, failures) VALUES ('ada', '{secret}', '{secret}', 0);
DROP TABLE every;
