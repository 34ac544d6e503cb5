-- Runs outside a transaction.
-- Finds what a sweep could not settle: the gates that it shut first, each in the order in which it was found.
CREATE INDEX CONCURRENTLY IF NOT EXISTS consents_swept ON consents ((registered <> 'NOT_ONAY'), next_attempt_at)
    WHERE action = 'query' AND (reason = 'swept' OR state IN ('refused', 'expired', 'parked'));
