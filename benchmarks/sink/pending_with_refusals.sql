-- Consents of a brand that are due to İYS, in the order of their terms. Every so many-th is a merchant's without
-- date and source, which İYS refuses over a record that it holds (H462).
INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient, desired_status,
    desired_at, desired_rank, desired_event_id, desired_origin, desired_source, desired_consent_date,
    received_at, registrable, attested, registered, state, action, due_at, expires_at, attempts, onay_open,
    ret_open, may_send, permission_reason, permission_since, updated_at)
SELECT %(brand)s || '/MESAJ/' || kind || '/+9053' || to_char(n, 'FM00000000'), 'acme', %(brand)s, 'MESAJ', kind,
    '+9053' || to_char(n, 'FM00000000'), 'ONAY', (%(instants)s::timestamptz[])[instant], 0, 'pending-' || n,
    'crm', CASE kind WHEN 'BIREYSEL' THEN 'HS_WEB' END,
    CASE kind WHEN 'BIREYSEL' THEN (%(instants)s::timestamptz[])[instant] END,
    (%(instants)s::timestamptz[])[instant], true, false, 'UNKNOWN', 'pending', 'send', (%(due)s::timestamptz[])[instant],
    (%(expires)s::timestamptz[])[instant], 0, false, false, false, 'not-registered', now(), now()
FROM (
    SELECT n, CASE WHEN n %% %(every)s = 0 THEN 'TACIR' ELSE 'BIREYSEL' END AS kind,
        1 + (n - 1) * %(instant_count)s::bigint / %(count)s::integer AS instant
    FROM generate_series(1, %(count)s::integer) AS n
) AS recipients
