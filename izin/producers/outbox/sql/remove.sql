-- Remove claimed rows, and put those that were refused aside, each with its violations.
WITH why AS (
    SELECT id AS row_id, found::jsonb AS violations
    FROM unnest(%(refused)s::bigint[], %(violations)s::text[]) AS given (id, found)
),
aside AS (
    INSERT INTO izin_outbox_refused (
        id, created_at, brand_code, type, recipient, phone, email, status, source, consent_date, date_basis,
        recipient_type, origin_ref, sequence, actor, correlation_id, retailer_code, retailer_access, notice_version,
        evidence, evidence_hash, violations
    )
    SELECT
        id, created_at, brand_code, type, recipient, phone, email, status, source, consent_date, date_basis,
        recipient_type, origin_ref, sequence, actor, correlation_id, retailer_code, retailer_access, notice_version,
        evidence, evidence_hash, violations
    FROM izin_outbox
    JOIN why ON izin_outbox.id = why.row_id
)
DELETE FROM izin_outbox WHERE id = ANY(%(claimed)s)
