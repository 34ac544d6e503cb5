-- name: lock
-- Held by one process while it renews the token; freed when the session ends. Everyone locks the account first, then
-- the address.
SELECT pg_advisory_lock(hashtext('izin.access-token'), hashtext(%(account)s))

-- name: lock-address
-- İYS counts token calls by address, whatever the account.
SELECT pg_advisory_lock(hashtext('izin.token-calls'), hashtext(%(address)s))

-- name: read
-- The token of the account, and the token calls of the address.
SELECT t.access_token, t.refresh_token, t.issued_at, t.expires_at, t.refresh_expires_at,
    coalesce(b.token_calls, '{}') AS calls, b.token_silent_until AS silent_until, coalesce(t.failures, 0) AS failures,
    t.password_digest
FROM (SELECT %(account)s AS account, %(address)s AS egress_address) AS who
LEFT JOIN access_tokens AS t USING (account)
LEFT JOIN rate_limits AS b USING (egress_address)

-- name: store
-- Store the token for all processes of the account.
INSERT INTO access_tokens (
    account, access_token, refresh_token, issued_at, expires_at, refresh_expires_at, failures,
    password_digest)
VALUES (%(account)s, %(access_token)s, %(refresh_token)s, %(issued_at)s, %(expires_at)s,
    %(refresh_expires_at)s, %(failures)s, %(digest)s)
ON CONFLICT (account) DO UPDATE SET
    access_token = excluded.access_token, refresh_token = excluded.refresh_token,
    issued_at = excluded.issued_at, expires_at = excluded.expires_at,
    refresh_expires_at = excluded.refresh_expires_at, failures = excluded.failures,
    password_digest = excluded.password_digest

-- name: forget-failures
-- Another password is given, or a person says that the refused one is right: request a token without delay.
UPDATE access_tokens SET failures = 0
WHERE failures > 0 AND (%(account)s::text IS NULL OR account = %(account)s)
    AND password_digest IS DISTINCT FROM %(digest)s
RETURNING account

-- name: recheck
-- An account has a token again, or another password: try one record of what is suspended for the account.
WITH tried AS (
    UPDATE suspensions AS s SET recheck_at = least(s.recheck_at, now())
    FROM brands AS b
    WHERE b.brand_code = s.brand_code AND s.scope = 'account' AND s.recheck_at IS NOT NULL
        AND (b.account IS NULL OR b.account = %(account)s)
)
SELECT pg_notify(channel, '') FROM (VALUES ('izin_opt_outs'), ('izin_bulk')) AS woken (channel)

-- name: store-calls
-- Store the token calls of the address.
INSERT INTO rate_limits (egress_address, free_at, factor, paused_until, token_calls, token_silent_until)
VALUES (%(address)s, clock_timestamp(), 1, clock_timestamp(), %(calls)s, %(silent_until)s)
ON CONFLICT (egress_address) DO UPDATE SET
    token_calls = excluded.token_calls, token_silent_until = excluded.token_silent_until
