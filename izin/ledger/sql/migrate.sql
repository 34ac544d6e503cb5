-- name: try-lock
-- Two processes that start together migrate one after the other; the lock ends with the session. Whoever waits tries
-- again: a statement that waits has a snapshot, and an index that is built concurrently waits for all of those.
SELECT pg_try_advisory_lock(hashtext('izin.migrations'))

-- name: lock-timeout
-- Writers queue behind a statement that waits for its lock, so it does not wait long.
SELECT set_config('lock_timeout', %(milliseconds)s, false)

-- name: create-table
-- The migrations that have run, with the digest of each.
CREATE TABLE IF NOT EXISTS migrations (
    name       text PRIMARY KEY,
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: has-table
-- Null where the ledger is empty.
SELECT to_regclass('migrations')::text

-- name: applied
-- The migrations that have run so far.
SELECT name, digest FROM migrations ORDER BY name

-- name: add
-- Record a migration that has run.
INSERT INTO migrations (name, digest) VALUES (%(name)s, %(digest)s)

-- name: blockers
-- The sessions for which a session waits. The server shows details only of those of our role, unless it may read all.
SELECT a.pid, a.usename, a.application_name, a.state, a.xact_start
FROM unnest(pg_blocking_pids(%(pid)s)) AS b (pid) JOIN pg_stat_activity AS a ON a.pid = b.pid

-- name: invalid-index
-- The index of that name, quoted, if it was left unfinished.
SELECT indexrelid::regclass::text FROM pg_index
WHERE indexrelid = to_regclass(%(name)s) AND NOT indisvalid

-- name: months
-- The tables of the months of the history, in order.
SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = to_regclass('history') ORDER BY 1
