-- name: all
-- Every account, by name.
SELECT name, role, customers, created_at, disabled_at, password_hash IS NOT NULL AS has_password
FROM console_accounts ORDER BY name

-- name: account
-- One account.
SELECT name, role, customers, created_at, disabled_at, password_hash IS NOT NULL AS has_password
FROM console_accounts WHERE name = %(name)s

-- name: save
-- Insert an account, or change what it may do; enable it. Its password stays.
INSERT INTO console_accounts (name, role, customers, created_at) VALUES (%(name)s, %(role)s, %(customers)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, customers = excluded.customers, disabled_at = NULL

-- name: disable
-- Disable an account, and forget its password; one that is none, or is disabled, is missing in the result.
UPDATE console_accounts SET disabled_at = %(now)s, password_hash = NULL WHERE name = %(name)s AND disabled_at IS NULL
RETURNING name, role, customers

-- name: end-sessions
-- End the sessions of an account, and its links.
WITH links AS (DELETE FROM console_links WHERE name = %(name)s)
DELETE FROM console_sessions WHERE name = %(name)s

-- name: set-password
-- Store the hash of a password.
UPDATE console_accounts SET password_hash = %(password_hash)s, failures = 0, locked_until = NULL WHERE name = %(name)s

-- name: attempt
-- The hash of an account that is enabled and not locked; counted as a wrong password. From the fifth in a row on the account
-- is locked, twice as long with each, up to an hour. Not flushed to disk, for that would tell which accounts there are.
UPDATE console_accounts SET failures = failures + 1,
    locked_until = CASE WHEN failures + 1 >= 5
        THEN %(now)s + least(interval '1 hour', interval '1 minute' * power(2, least(failures - 4, 10))) END
WHERE name = %(name)s AND disabled_at IS NULL AND password_hash IS NOT NULL
    AND (locked_until IS NULL OR locked_until <= %(now)s)
RETURNING password_hash, set_config('synchronous_commit', 'off', true) AS quick

-- name: succeed
-- Forget wrong passwords, and keep the hash of the right one.
UPDATE console_accounts SET failures = 0, locked_until = NULL, password_hash = %(kept)s
WHERE name = %(name)s AND password_hash = %(stored)s

-- name: insert-link
-- Store a link, and forget those that have expired.
WITH expired AS (DELETE FROM console_links WHERE expires_at < %(now)s)
INSERT INTO console_links (digest, name, expires_at) VALUES (%(digest)s, %(name)s, %(expires_at)s)

-- name: use-link
-- Use a link: it is there once.
DELETE FROM console_links AS l USING console_accounts AS a
WHERE l.digest = %(digest)s AND l.expires_at > %(now)s AND a.name = l.name AND a.disabled_at IS NULL
RETURNING l.name

-- name: insert-session
-- Store a session, and forget those that have ended.
WITH ended AS (DELETE FROM console_sessions WHERE created_at < %(since)s OR seen_at < %(idle_since)s)
INSERT INTO console_sessions (digest, name, created_at, seen_at) VALUES (%(digest)s, %(name)s, %(now)s, %(now)s)

-- name: session
-- The account of a session that has neither ended nor been idle for too long.
SELECT a.name, a.role, a.customers, a.created_at, a.disabled_at, a.password_hash IS NOT NULL AS has_password, s.seen_at
FROM console_sessions AS s JOIN console_accounts AS a ON a.name = s.name
WHERE s.digest = %(digest)s AND s.created_at > %(since)s AND s.seen_at > %(idle_since)s AND a.disabled_at IS NULL

-- name: touch
-- Note that a session is used.
UPDATE console_sessions SET seen_at = %(now)s WHERE digest = %(digest)s

-- name: end-session
-- End a session.
DELETE FROM console_sessions WHERE digest = %(digest)s
