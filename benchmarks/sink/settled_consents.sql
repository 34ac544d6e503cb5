-- Settled consents of a brand, for a ledger of some size.
INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient, desired_status,
    desired_at, desired_rank, desired_event_id, desired_origin, desired_source, desired_consent_date,
    received_at, registrable, attested, registered, registered_at, registered_transaction_id, verified_at,
    verified_by, state, action, attempts, onay_open, ret_open, may_send, permission_reason, permission_since,
    updated_at)
SELECT %(brand)s || '/MESAJ/BIREYSEL/+9054' || to_char(n, 'FM00000000'), 'acme', %(brand)s, 'MESAJ', 'BIREYSEL',
    '+9054' || to_char(n, 'FM00000000'), 'ONAY', now() - interval '30 days', 0, 'filled-' || n, 'crm', 'HS_WEB',
    now() - interval '30 days', now() - interval '30 days', true, false, 'ONAY', now() - interval '29 days',
    encode(sha256(convert_to(n::text, 'UTF8')), 'hex'), now() - interval '29 days', 'batch', 'accepted', 'nothing',
    1, false, false, true, 'registered', now() - interval '29 days', now() - interval '29 days'
FROM generate_series(1, %(count)s::integer) AS n
