-- By which account and from which address a brand's records are told: several accounts behind several addresses share
-- one ledger. NULL: by any.
ALTER TABLE brands
    ADD COLUMN account text CHECK (account <> ''),
    ADD COLUMN egress_address text CHECK (egress_address <> ''),
    -- The provider's subscription, as İYS last showed it; partners are not shown its limits.
    ADD COLUMN subscription text,
    ADD COLUMN subscription_ends_at timestamptz,
    ADD COLUMN consent_limit integer,
    ADD COLUMN consents_used integer,
    ADD COLUMN asked_at timestamptz;
