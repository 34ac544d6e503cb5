-- How far the offboarding of a customer is. Each step is done once; after a crash the same order goes on where it was.
CREATE TABLE offboardings (
    customer_id    text PRIMARY KEY REFERENCES customers,
    ordered_at     timestamptz NOT NULL,
    ordered_by     text NOT NULL CHECK (ordered_by <> ''),
    reason         text NOT NULL CHECK (reason <> ''),
    -- Opt-outs that were not at İYS and were written to a file, for a person to withdraw the consents there.
    named_opt_outs integer,
    -- The archive that was handed over.
    sha256         text,
    archived_at    timestamptz,
    ended_at       timestamptz,
    CHECK ((sha256 IS NULL) = (archived_at IS NULL) AND (ended_at IS NULL OR archived_at IS NOT NULL))
);
