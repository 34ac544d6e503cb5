-- Consents of a brand that İYS has accepted.
INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient, desired_status, desired_at,
    desired_rank, desired_event_id, desired_origin, desired_source, desired_consent_date, received_at, registrable,
    attested, latest_onay_at, registered, registered_at, registered_consent_date, registered_source,
    registered_transaction_id, verified_at, verified_by, state, action, attempts, onay_open, ret_open, may_send,
    permission_reason, permission_since, updated_at)
SELECT %(brand)s || '/MESAJ/BIREYSEL/+90555' || to_char(n, 'FM0000000'), %(customer)s, %(brand)s, 'MESAJ', 'BIREYSEL',
    '+90555' || to_char(n, 'FM0000000'), 'ONAY', %(at)s, 0, 'filled-' || n, 'crm', 'HS_WEB', %(at)s, %(at)s, true, false,
    %(at)s, 'ONAY', %(at)s, %(at)s, 'HS_WEB', 'filled-' || n, %(at)s, 'batch', 'accepted', 'nothing', 1, false, false,
    true, 'registered', %(at)s, %(at)s
FROM generate_series(0, %(last)s::integer) AS n
