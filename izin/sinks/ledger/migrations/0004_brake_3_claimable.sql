-- Runs outside a transaction.
-- consents_sendable takes its place.
DROP INDEX CONCURRENTLY IF EXISTS consents_claimable;
