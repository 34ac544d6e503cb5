-- What is written most is checked once. Items are written by the statement after the one that gives their submission its
-- number, in its transaction, and neither is ever deleted, so no item can lack its submission.
ALTER TABLE submission_items DROP CONSTRAINT submission_items_submission_id_fkey;

-- Among rows that are due at one instant none comes first by law, and the key makes half of the index.
DROP INDEX consents_claimable;
CREATE INDEX consents_claimable ON consents (brand_code, channel, desired_status, due_at)
    WHERE state IN ('pending', 'retryable') AND duty = 'send';
