-- Runs outside a transaction.
-- Finds what a brake holds back, and what it may hold back no longer.
CREATE INDEX CONCURRENTLY IF NOT EXISTS consents_held_back ON consents (due_at) WHERE brake_id IS NOT NULL;
