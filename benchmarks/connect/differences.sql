-- How the tables that Kafka Connect writes differ from the ledger. Topics carry milliseconds.
WITH permission AS (
    SELECT l.key, p.consent_key,
        (l.customer_id, l.brand_code, l.channel, l.recipient_type, l.recipient, l.may_send, l.permission_reason,
            l.desired_status, l.registered) IS DISTINCT FROM
        (p.customer_id, p.brand_code, p.type, p.recipient_type, p.recipient, p.may_send, p.reason,
            p.desired, p.registered)
        OR date_trunc('milliseconds', l.permission_since AT TIME ZONE 'UTC') IS DISTINCT FROM p.since
        OR date_trunc('milliseconds', l.registered_at AT TIME ZONE 'UTC') IS DISTINCT FROM p.registered_at
        OR date_trunc('milliseconds', l.registered_consent_date AT TIME ZONE 'UTC') IS DISTINCT FROM p.consent_date
        AS differs
    FROM consents AS l FULL JOIN subscriber.permissions AS p ON p.consent_key = l.key
), opt_out AS (
    SELECT o.consent_key, l.key IS NULL AS is_erased,
        l.key IS NOT NULL AND (
            (l.customer_id, l.brand_code, l.channel, l.recipient_type, l.recipient, l.desired_status,
                l.desired_event_id, l.desired_origin, l.desired_source) IS DISTINCT FROM
            (o.customer_id, o.brand_code, o.type, o.recipient_type, o.recipient, o.status,
                o.event_id, o.origin, o.source)
            OR date_trunc('milliseconds', l.desired_at AT TIME ZONE 'UTC') IS DISTINCT FROM o.effective_at
        ) AS differs
    FROM consents AS l FULL JOIN subscriber.consent_opt_outs AS o ON o.consent_key = l.key
    WHERE l.desired_status = 'RET' OR o.consent_key IS NOT NULL
)
SELECT (SELECT count(*) FROM permission WHERE consent_key IS NOT NULL) AS permissions,
    (SELECT count(*) FROM permission WHERE differs) AS differing_permissions,
    (SELECT count(*) FROM opt_out WHERE consent_key IS NOT NULL) AS opt_outs,
    (SELECT count(*) FROM opt_out WHERE differs) AS differing_opt_outs,
    (SELECT count(*) FROM opt_out WHERE is_erased) AS opt_outs_of_erased
