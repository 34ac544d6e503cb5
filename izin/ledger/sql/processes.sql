-- name: enter
-- Show that this process lives: the lock is held as long as its session.
SELECT pg_advisory_lock(29541, %(owner)s::integer)

-- name: beat
-- Show that this process makes progress, and read the clock of the database, in seconds since 1970.
INSERT INTO processes (owner, beats) VALUES (%(owner)s, 1)
ON CONFLICT (owner) DO UPDATE SET beats = processes.beats + 1
RETURNING extract(epoch FROM clock_timestamp())::double precision AS read_at

-- name: others
-- How far the other processes have come.
SELECT owner, beats FROM processes WHERE owner <> %(owner)s

-- name: fence
-- End every session of a process, and with them its locks. A process that is frozen amid COPY keeps them through every
-- time-out. Its sessions carry its number as their name.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'izin-' || %(owner)s AND datname = current_database() AND pid <> pg_backend_pid()

-- name: forget
-- Forget a process that is gone. No row: it has shown progress meanwhile.
DELETE FROM processes WHERE owner = %(owner)s AND beats = %(beats)s
RETURNING owner

-- name: lease
-- The lease of a piece of work, and whether this process may take it: its owner is gone, or is this process itself.
SELECT owner, epoch, owner = %(owner)s OR NOT is_alive(owner) AS is_free FROM leases WHERE name = %(name)s

-- name: first-lease
-- Take work that no process has done before. No row: another process was first.
INSERT INTO leases (name, owner, epoch) VALUES (%(name)s, %(owner)s, 1)
ON CONFLICT (name) DO NOTHING
RETURNING epoch

-- name: take
-- Take the lease from an owner that is gone, with the next epoch. No row: another process was first.
UPDATE leases SET owner = %(owner)s, epoch = epoch + 1 WHERE name = %(name)s AND epoch = %(epoch)s
RETURNING epoch

-- name: check
-- Whether this process still owns the lease; its epoch cannot rise before the transaction ends. No row: it has risen.
SELECT epoch FROM leases WHERE name = %(name)s AND epoch = %(epoch)s FOR KEY SHARE
