-- name: lock
-- Two processes that start together migrate one after the other; the lock ends with the transaction.
SELECT pg_advisory_xact_lock(hashtext('izin.migrations'))

-- name: remember-table
-- What has run, and the digest of what it was.
CREATE TABLE IF NOT EXISTS migrations (
    name       text PRIMARY KEY,
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: is-remembered
-- Null where the ledger is still empty.
SELECT to_regclass('migrations')::text

-- name: remembered
-- What has run so far.
SELECT name, digest FROM migrations ORDER BY name

-- name: remember
-- One more has run.
INSERT INTO migrations (name, digest) VALUES (%(name)s, %(digest)s)
