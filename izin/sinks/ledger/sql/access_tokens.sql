-- name: lock
-- Held by one process of the account while it renews; the session's end frees it.
SELECT pg_advisory_lock(hashtext('izin.access-token'), hashtext(%(account)s))

-- name: unlock
-- The renewal is over.
SELECT pg_advisory_unlock(hashtext('izin.access-token'), hashtext(%(account)s))

-- name: read
-- What the account's processes know of its token.
SELECT access_token, refresh_token, issued_at, expires_at, refresh_expires_at, calls, silent_until, failures
FROM access_tokens WHERE account = %(account)s

-- name: store
-- Keep it for all of them.
INSERT INTO access_tokens (
    account, access_token, refresh_token, issued_at, expires_at, refresh_expires_at, calls, silent_until, failures)
VALUES (%(account)s, %(access_token)s, %(refresh_token)s, %(issued_at)s, %(expires_at)s,
    %(refresh_expires_at)s, %(calls)s, %(silent_until)s, %(failures)s)
ON CONFLICT (account) DO UPDATE SET
    access_token = excluded.access_token, refresh_token = excluded.refresh_token,
    issued_at = excluded.issued_at, expires_at = excluded.expires_at,
    refresh_expires_at = excluded.refresh_expires_at, calls = excluded.calls,
    silent_until = excluded.silent_until, failures = excluded.failures
