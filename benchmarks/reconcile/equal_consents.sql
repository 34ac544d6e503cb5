-- Settled consents of a brand, each given at one instant, and that İYS showed each, in the history. The links are no
-- chain: nothing verifies this history.
WITH filled AS (
    INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient, desired_status, desired_at,
        desired_rank, desired_event_id, desired_origin, desired_source, desired_consent_date, received_at, registrable,
        attested, latest_onay_at, registered, registered_at, registered_consent_date, registered_source,
        registered_transaction_id, verified_at, verified_by, state, action, attempts, onay_open, ret_open, may_send,
        permission_reason, permission_since, updated_at)
    SELECT %(brand)s || '/MESAJ/BIREYSEL/+9054' || to_char(n, 'FM00000000'), 'acme', %(brand)s, 'MESAJ', 'BIREYSEL',
        '+9054' || to_char(n, 'FM00000000'), 'ONAY', %(at)s, 0, 'filled-' || n, 'crm', 'HS_WEB', %(at)s, %(at)s, true,
        false, %(at)s, 'ONAY', %(at)s, %(at)s, 'HS_WEB', encode(sha256(convert_to(n::text, 'UTF8')), 'hex'), %(at)s,
        'pull', 'accepted', 'nothing', 1, false, false, true, 'registered', %(at)s, %(at)s
    FROM generate_series(1, %(count)s::integer) AS n
    RETURNING key, customer_id, registered_at, registered_consent_date, registered_source, registered_transaction_id
)
INSERT INTO history (recorded_at, occurred_at, place, shard, kind, link, salt, key, customer_id, event_id, status,
    source, data)
SELECT now(), registered_at, row_number() OVER (), 0, 'observation', decode(repeat('00', 32), 'hex'),
    decode(repeat('00', 16), 'hex'), key, customer_id, 'filled', 'ONAY', 'pull/HS/' || registered_transaction_id,
    json_build_object('by', 'pull', 'stream', 'HS', 'creation_date', registered_at,
        'consent_date', registered_consent_date, 'source', registered_source,
        'transaction_id', registered_transaction_id, 'ours', true)
FROM filled
