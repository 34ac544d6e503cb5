-- The sweep: İYS is asked for the status of every key of a brand, a thousand in a request; and İYS's counts of a brand.

-- One sweep of a brand. A gap is a time that İYS's pull no longer shows.
CREATE TABLE sweeps (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    brand_code  integer NOT NULL REFERENCES brands,
    reason      text NOT NULL CHECK (reason IN ('gap', 'order', 'schedule')),
    started_at  timestamptz NOT NULL,
    -- How many keys the brand had then.
    keys        bigint NOT NULL,
    -- Where it goes on: every key of the brand up to here is done. It names a recipient; NULL once the sweep has ended.
    after       text,
    pages       bigint NOT NULL DEFAULT 0,
    queried     bigint NOT NULL DEFAULT 0,
    -- What became of those: ONAY as known; gates that were shut; ONAY that nobody knew of; keys whose own query follows
    -- beside the shut ones; keys in motion, which were not judged; keys that İYS refuses to look up.
    confirmed   bigint NOT NULL DEFAULT 0,
    shut        bigint NOT NULL DEFAULT 0,
    found       bigint NOT NULL DEFAULT 0,
    asked       bigint NOT NULL DEFAULT 0,
    skipped     bigint NOT NULL DEFAULT 0,
    refused     bigint NOT NULL DEFAULT 0,
    -- Channels and recipient types that İYS does not let us query, each with its code.
    passed_over text[] NOT NULL DEFAULT '{}',
    -- Why it waits, and until when. NULL: it does not.
    error       text,
    retry_at    timestamptz,
    ended_at    timestamptz,
    is_stopped  boolean NOT NULL DEFAULT false,
    CHECK ((after IS NULL) = (ended_at IS NOT NULL)),
    CHECK ((error IS NULL) = (retry_at IS NULL)),
    CHECK (ended_at IS NOT NULL OR NOT is_stopped)
);
-- Refuses a second sweep of a brand before the first has ended.
CREATE UNIQUE INDEX sweeps_open ON sweeps (brand_code) WHERE ended_at IS NULL;
-- Finds the latest sweep of a brand.
CREATE INDEX sweeps_latest ON sweeps (brand_code, id);

-- How many consents of a brand İYS counts, and how many the ledger believes to be registered there, at one instant.
CREATE TABLE register_counts (
    brand_code     integer NOT NULL REFERENCES brands,
    counted_at     timestamptz NOT NULL,
    iys_onay       bigint NOT NULL,
    iys_ret        bigint NOT NULL,
    onay           bigint NOT NULL,
    ret            bigint NOT NULL,
    -- Keys of which is not known, or not confirmed, what İYS holds; and those among all that are on their way there.
    unconfirmed    bigint NOT NULL,
    in_flight      bigint NOT NULL,
    PRIMARY KEY (brand_code, counted_at)
);

-- Whether the status of a row has to be queried alone, for a sweep could not settle it. The reason of what is refused,
-- expired or parked stays as it is, for a person reads it; nothing else queries such a row.
CREATE FUNCTION is_swept(c consents) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.action = 'query' AND (c.reason = 'swept' OR c.state IN ('refused', 'expired', 'parked'))
$$;
