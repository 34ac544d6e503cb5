-- Runs outside a transaction.
-- Claims the records of one brand, channel and status in the order of due_at, without those that a brake holds back.
CREATE INDEX CONCURRENTLY IF NOT EXISTS consents_sendable ON consents (brand_code, channel, desired_status, due_at)
    WHERE state IN ('pending', 'retryable') AND action = 'send' AND brake_id IS NULL;
