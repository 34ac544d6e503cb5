-- Consents of a brand that are due to İYS, as if they had been ingested.
INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient, desired_status,
    desired_at, desired_rank, desired_event_id, desired_origin, desired_source, desired_consent_date,
    received_at, registrable, attested, registered, state, action, due_at, expires_at, attempts, onay_open,
    ret_open, may_send, permission_reason, permission_since, updated_at)
SELECT %(brand)s || '/MESAJ/BIREYSEL/+9053' || to_char(n, 'FM00000000'), 'acme', %(brand)s, 'MESAJ', 'BIREYSEL',
    '+9053' || to_char(n, 'FM00000000'), 'ONAY', (%(instants)s::timestamptz[])[instant], 0, 'pending-' || n,
    'crm', 'HS_WEB', (%(instants)s::timestamptz[])[instant], (%(instants)s::timestamptz[])[instant], true, false,
    'UNKNOWN', 'pending', 'send', (%(due)s::timestamptz[])[instant], (%(expires)s::timestamptz[])[instant], 0, false, false,
    false, 'not-registered', now(), now()
FROM (
    SELECT n, 1 + (n - %(first)s) * %(instant_count)s::bigint / (%(last)s - %(first)s + 1) AS instant
    FROM generate_series(%(first)s::integer, %(last)s::integer) AS n
) AS recipients
