-- The brake: where one source opts out more of a brand's keys within an hour than the brand's customer allows, its
-- opt-outs take effect at once, and are registered at İYS when a person has decided, or a day before they are due.

-- Of how many keys in a hundred one source may opt out within an hour, and below how many opt-outs that is not looked
-- at. NULL: the customer has set no brake.
ALTER TABLE customers
    ADD COLUMN brake_share    double precision CHECK (brake_share > 0 AND brake_share < 100),
    ADD COLUMN brake_at_least integer CHECK (brake_at_least > 0),
    ADD CONSTRAINT customers_brake_check CHECK ((brake_share IS NULL) = (brake_at_least IS NULL));

-- How many keys of a brand desire ONAY: counted once, and kept by ingest from then on, for the brands of customers that
-- have set a brake.
CREATE TABLE opt_in_counts (
    brand_code integer PRIMARY KEY REFERENCES brands,
    keys       bigint NOT NULL
);

-- The opt-outs of the last hour by whom they came: the latest of each key. A source is the API key that published them,
-- else the origin that they name.
CREATE TABLE recent_opt_outs (
    brand_code  integer NOT NULL REFERENCES brands,
    source      text NOT NULL,
    key         text NOT NULL,
    event_id    text NOT NULL,
    -- When they were ingested: no clock of a sender is in it.
    noted_at    timestamptz NOT NULL,
    PRIMARY KEY (brand_code, source, key)
);
-- Counts the opt-outs of a source within the hour.
CREATE INDEX recent_opt_outs_noted ON recent_opt_outs (brand_code, source, noted_at);

-- A brake that tripped: opt-outs of a source are held back from then on, those of the hour before too, until a person
-- decides.
CREATE TABLE brakes (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    brand_code  integer NOT NULL REFERENCES brands,
    source      text NOT NULL,
    tripped_at  timestamptz NOT NULL,
    -- How many keys were opted out within the hour, how many desired ONAY then, and the share that was allowed.
    keys        bigint NOT NULL,
    opted_in    bigint NOT NULL,
    share       double precision NOT NULL,
    decision    text CHECK (decision IN ('released', 'withdrawn')),
    decided_at  timestamptz,
    decided_by  text,
    reason      text CHECK (reason <> ''),
    CHECK (num_nulls(decision, decided_at, decided_by, reason) IN (0, 4))
);
-- Refuses a second open brake on the same opt-outs.
CREATE UNIQUE INDEX brakes_open ON brakes (brand_code, source) WHERE decision IS NULL;

-- Without a foreign key: its check would cost every new row. A new obligation of the key has neither.
ALTER TABLE consents ADD COLUMN brake_id integer, ADD COLUMN withdrawn_at timestamptz;
COMMENT ON COLUMN consents.brake_id IS 'The brake that holds this opt-out back.';
COMMENT ON COLUMN consents.withdrawn_at IS
    'When a person decided that this opt-out is not registered at İYS. It stays an opt-out.';

-- Until when a brake may hold an opt-out back: a day before it is due at most. NULL: it may not.
CREATE FUNCTION held_back_until(c consents) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.due_at - interval '24 hours'
$$;

-- Whether a row may be submitted now. Two movements of a key reach İYS at least a second apart, for it has no finer
-- clock and would give both one transaction id. A RET may overtake an unsettled ONAY of its key, never another RET.
-- A query of its status by a process that lives comes first; a statement asks once for `(SELECT living())`. What a
-- brake holds back waits, however many such rows there are: they are not in the index that finds what is due.
CREATE OR REPLACE FUNCTION is_sendable(c consents, now timestamptz, living text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.state IN ('pending', 'retryable') AND c.action = 'send' AND c.brake_id IS NULL
        AND (c.next_attempt_at IS NULL OR c.next_attempt_at <= now)
        AND (c.lease_until IS NULL OR c.lease_until <= now OR c.lease_owner <> ALL(living))
        AND (c.last_exchange_at IS NULL OR c.last_exchange_at <= now - interval '1 second')
        AND (c.expires_at IS NULL OR c.expires_at >= now)
        AND NOT c.ret_open AND (NOT c.onay_open OR c.desired_status = 'RET')
$$;
