-- What other processes write, and what would take a fault of a server: of a ledger that tests/support/console/data.py
-- has filled.

-- Records that İYS refused, and some that wait for a person for other reasons than the sinks met.
UPDATE consents SET state = 'parked', action = 'nothing', reason = w.reason, code = w.code, attempts = 1
FROM (VALUES ('+905550009350', 'quota-spent', 'H525'), ('+905550009351', 'no-such-retailer', 'H126'),
    ('+905550009352', 'unknown-code', 'H999'), ('+905550009353', 'iys-says-otherwise', NULL)) AS w (recipient, reason, code)
WHERE consents.recipient = w.recipient AND state = 'pending';
UPDATE consents SET state = 'parked', action = 'nothing', reason = 'opt-out-refused', code = 'H095', attempts = 2
    WHERE recipient = '+905550009020' AND state = 'pending';
UPDATE consents SET state = 'in_flight', attempts = 1 WHERE recipient BETWEEN '+905550009354' AND '+905550009359';
UPDATE consents SET state = 'refused', action = 'nothing', reason = 'data', code = 'H113'
WHERE recipient BETWEEN '+905550009354' AND '+905550009359' AND state = 'in_flight';
INSERT INTO retailer_access (key, customer_id, brand_code, channel, registered_code, desired_by, desired_code, since)
    SELECT key, customer_id, brand_code, channel, 11, 'bayi-degisti', 12, now() - interval '1 day'
    FROM consents WHERE state = 'accepted' AND desired_status = 'ONAY' ORDER BY key LIMIT 2;

INSERT INTO register_counts (brand_code, counted_at, iys_onay, iys_ret, onay, ret, unconfirmed, in_flight)
    SELECT b.brand_code, now() - make_interval(days => n), 180 - 4 * n, 30 - n, 180 - 4 * n, 30 - n, 0, n % 3
    FROM brands AS b, generate_series(0, 15) AS n WHERE b.activated_at IS NOT NULL;
UPDATE brands SET subscription = 'ACTIVE', subscription_ends_at = now() + interval '90 days', consent_limit = 100000,
    consents_used = 82310, queried_at = now() - interval '2 hours' WHERE activated_at IS NOT NULL;
INSERT INTO list_readings (account, read_at, next_at) VALUES ('ada', now() - interval '3 hours', now() + interval '1 hour')
ON CONFLICT DO NOTHING;
INSERT INTO stream_cursors (brand_code, stream) SELECT brand_code, stream FROM brands, (VALUES ('IYS'), ('HS')) AS s (stream)
    ON CONFLICT DO NOTHING;
INSERT INTO sequences VALUES ('acme', 'crm', 1, 4180);
INSERT INTO sequence_gaps VALUES ('acme', 'crm', 2044, 2046, now() - interval '20 hours');

-- One subscriber refuses what it gets, and one was paused by a person.
UPDATE subscribers SET failing_since = now() - interval '40 minutes', alerts = 1, last_failure = 'the reply was 503',
    last_failure_at = now() - interval '2 minutes' WHERE name = 'eposta-araci';
INSERT INTO delivery_attempts (subscriber_id, failed_at, topic, partition, "offset", attempt, status, failure)
    SELECT s.id, now() - make_interval(mins => 2 * n), 'consent-opt-outs', 0, 1, 20 - n, 503, 'the reply was 503'
    FROM subscribers AS s, generate_series(1, 19) AS n WHERE s.name = 'eposta-araci';
UPDATE subscribers SET paused_at = now() - interval '3 days', paused_for = 'operator' WHERE name = 'tatil-crm';
