-- Runs outside a transaction.
-- Lists what is parked or refused page by page, and counts it up to a limit, however much there is.
CREATE INDEX CONCURRENTLY IF NOT EXISTS consents_worklist ON consents (brand_code, state,
    worklist_why(state, reason, code), worklist_until(expires_at, due_at), key COLLATE "C")
    WHERE state IN ('parked', 'refused')
