-- A fault at İYS stops what it concerns: a brand, every brand of a provider (its subscription), or every brand of our
-- account. What one try shows of such a group, it shows of all.
ALTER TABLE stops ADD COLUMN reach text NOT NULL DEFAULT 'brand' CHECK (reach IN ('brand', 'provider', 'account'));

-- An opt-out that İYS was told of only after its third business day is a breach, and stays on record.
ALTER TABLE movements DROP CONSTRAINT movements_kind_check, ADD CONSTRAINT movements_kind_check
    CHECK (kind IN ('decision', 'call', 'answer', 'observation', 'outcome', 'delivery', 'act', 'breach'));

-- What is not settled: counted by brand and lane, and watched by its deadlines, without reading what is.
CREATE INDEX consents_unsettled ON consents (brand_code, channel, desired_status, due_at)
    WHERE state IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown', 'parked');
CREATE INDEX consents_rescued ON consents (brand_code) WHERE duty = 'rescue';
