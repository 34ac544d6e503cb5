-- The ledger: what we want to be true, what İYS has stated, what is still owed, and everything that happened.
-- Instants are timestamptz; words are İYS's own or the lifecycle's; customer_id stands in every table of facts.

-- A brand of a customer at İYS. Null activated_at: first loading, the three-business-day rule does not bind yet.
CREATE TABLE brands (
    brand_code       integer PRIMARY KEY,
    iys_code         integer NOT NULL,
    customer_id      text NOT NULL,
    name             text NOT NULL,
    activated_at     timestamptz,
    loading_deadline timestamptz,
    status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'stopped')),
    updated_at       timestamptz NOT NULL
);

-- What keeps a brand's records from İYS until a person, or İYS, mends it: a lost right stops one type, a spent
-- quota only new ONAYs. '*' is every type, every status. At recheck_at one call may try whether it is mended.
CREATE TABLE stops (
    brand_code  integer NOT NULL REFERENCES brands,
    channel     text NOT NULL CHECK (channel IN ('ARAMA', 'MESAJ', 'EPOSTA', '*')),
    status      text NOT NULL CHECK (status IN ('ONAY', 'RET', '*')),
    customer_id text NOT NULL,
    code        text NOT NULL,
    why         text NOT NULL,
    since       timestamptz NOT NULL,
    recheck_at  timestamptz NOT NULL,
    rechecks    integer NOT NULL DEFAULT 0,
    PRIMARY KEY (brand_code, channel, status)
);

-- A row a key: desired (the law's), registered (İYS's own statements), and what the key still owes.
CREATE TABLE consents (
    key                       text PRIMARY KEY,
    customer_id               text NOT NULL,
    brand_code                integer NOT NULL,
    channel                   text NOT NULL CHECK (channel IN ('ARAMA', 'MESAJ', 'EPOSTA')),
    recipient_type            text NOT NULL CHECK (recipient_type IN ('BIREYSEL', 'TACIR')),
    recipient                 text NOT NULL,

    desired_status            text CHECK (desired_status IN ('ONAY', 'RET')),
    desired_at                timestamptz,
    desired_rank              smallint,
    desired_event_id          text,
    desired_origin            text,
    desired_origin_ref        text,
    desired_source            text,
    desired_consent_date      timestamptz,
    received_at               timestamptz,
    notice_version            text,
    registrable               boolean NOT NULL,
    attested                  boolean NOT NULL,
    retailer_code             integer,
    retailer_access           integer[],
    latest_onay_at            timestamptz,
    latest_ret_at             timestamptz,

    registered                text NOT NULL
        CHECK (registered IN ('ONAY', 'RET', 'NONE', 'NOT_ONAY', 'UNKNOWN')),
    registered_at             timestamptz,
    registered_consent_date   timestamptz,
    registered_source         text,
    registered_transaction_id text,
    verified_at               timestamptz,
    verified_by               text,

    state                     text NOT NULL CHECK (state IN (
        'pending', 'in_flight', 'awaiting_result', 'unknown', 'accepted', 'refused', 'retryable',
        'parked', 'expired', 'superseded', 'not_needed')),
    duty                      text NOT NULL CHECK (duty IN ('send', 'ask', 'wait', 'rescue', 'none')),
    why                       text,
    code                      text,
    due_at                    timestamptz,
    expires_at                timestamptz,
    attempts                  integer NOT NULL,
    next_attempt_at           timestamptz,
    lease_owner               text,
    lease_until               timestamptz,
    onay_open                 boolean NOT NULL,
    ret_open                  boolean NOT NULL,

    may_send                  boolean NOT NULL,
    permission_reason         text,
    permission_since          timestamptz,
    updated_at                timestamptz NOT NULL,

    CHECK ((desired_status IS NULL) = (desired_event_id IS NULL)),
    CHECK ((desired_status IS NULL) = (desired_at IS NULL))
) WITH (fillfactor = 85);

COMMENT ON COLUMN consents.onay_open IS 'An ONAY of this key is told and not yet answered.';
COMMENT ON COLUMN consents.ret_open IS 'A RET of this key is told and not yet answered.';

-- The lifecycle (consent.lifecycle), once more, for the database refuses what the table does not know: a test holds the
-- two together. A newer desired event begins a new obligation in the same row. What was settled may become owed
-- again and be parked or expire in one step.
CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'illegal transition'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'consents_lawful',
            DETAIL = OLD.state || ' to ' || NEW.state;
END $$;
CREATE TRIGGER consents_lawful BEFORE UPDATE ON consents FOR EACH ROW
    WHEN (
        CASE
            WHEN OLD.desired_event_id IS DISTINCT FROM NEW.desired_event_id
                THEN NEW.state NOT IN ('pending', 'not_needed', 'parked', 'expired')
            ELSE OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
                'pending in_flight', 'pending not_needed', 'pending parked', 'pending expired',
                'pending superseded',
                'in_flight awaiting_result', 'in_flight accepted', 'in_flight refused',
                'in_flight retryable', 'in_flight unknown', 'in_flight not_needed', 'in_flight parked',
                'in_flight expired', 'in_flight superseded',
                'awaiting_result accepted', 'awaiting_result refused', 'awaiting_result retryable',
                'awaiting_result unknown', 'awaiting_result not_needed', 'awaiting_result parked',
                'awaiting_result expired', 'awaiting_result superseded',
                'unknown accepted', 'unknown refused', 'unknown retryable', 'unknown not_needed',
                'unknown parked', 'unknown expired', 'unknown superseded',
                'retryable in_flight', 'retryable not_needed', 'retryable parked', 'retryable expired',
                'retryable superseded',
                'parked pending', 'parked not_needed', 'parked expired', 'parked superseded',
                'refused pending', 'refused parked', 'refused not_needed', 'refused superseded',
                'accepted pending', 'accepted parked', 'accepted expired', 'accepted superseded',
                'not_needed pending', 'not_needed parked', 'not_needed expired', 'not_needed superseded',
                'expired not_needed', 'expired superseded',
                'superseded pending')
        END
    )
    EXECUTE FUNCTION refuse_transition();

-- Claiming: a brand's opt-outs by a lane of their own, then its earliest due.
CREATE INDEX consents_claimable ON consents (brand_code, channel, desired_status, due_at, key)
    WHERE state IN ('pending', 'retryable') AND duty = 'send';
-- Offering a last-hour ONAY by single, and giving up an expired one.
CREATE INDEX consents_expiring ON consents (expires_at)
    WHERE state IN ('pending', 'retryable') AND desired_status = 'ONAY' AND expires_at IS NOT NULL;
-- Asking İYS what it holds of a record.
CREATE INDEX consents_to_ask ON consents (brand_code, channel, recipient_type, next_attempt_at)
    WHERE duty = 'ask' AND NOT onay_open AND NOT ret_open;
CREATE INDEX consents_parked ON consents (brand_code, why) WHERE state = 'parked';
CREATE INDEX consents_recipient ON consents (recipient);

-- Append-only. `source` says where the fact comes from and makes it unique: an event's coordinates, a
-- submission's item, an outbox row. It outlives the topics.
CREATE TABLE movements (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL
        CHECK (kind IN ('decision', 'call', 'answer', 'observation', 'outcome', 'delivery', 'act')),
    customer_id   text NOT NULL,
    key           text NOT NULL,
    event_id      text,
    status        text,
    source        text NOT NULL UNIQUE,
    occurred_at   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    data          jsonb NOT NULL
);
CREATE INDEX movements_key ON movements (key, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'movements are append-only: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'movements_append_only';
END $$;
CREATE TRIGGER movements_append_only BEFORE UPDATE OR DELETE ON movements
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER movements_no_truncate BEFORE TRUNCATE ON movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One call to İYS: the exact body before it leaves (intent), the answer before anything else.
CREATE TABLE submissions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  text NOT NULL,
    brand_code   integer NOT NULL REFERENCES brands,
    kind         text NOT NULL CHECK (kind IN ('single', 'batch')),
    body         text NOT NULL,
    state        text NOT NULL
        CHECK (state IN ('intent', 'awaiting_result', 'unknown', 'settled')),
    lease_owner  text,
    lease_until  timestamptz,
    request_id   text,
    intended_at  timestamptz NOT NULL,
    answered_at  timestamptz,
    settled_at   timestamptz,
    next_poll_at timestamptz,
    polls        integer NOT NULL DEFAULT 0,
    sends        integer NOT NULL DEFAULT 1,
    refusals     integer NOT NULL DEFAULT 0,
    code         text
);
CREATE INDEX submissions_waiting ON submissions (next_poll_at) WHERE state = 'awaiting_result';
CREATE INDEX submissions_unanswered ON submissions (lease_until) WHERE state IN ('intent', 'unknown');

CREATE TABLE submission_items (
    submission_id  bigint NOT NULL REFERENCES submissions,
    index          integer NOT NULL,
    customer_id    text NOT NULL,
    key            text NOT NULL,
    event_id       text NOT NULL,
    status         text NOT NULL CHECK (status IN ('ONAY', 'RET')),
    consent_date   timestamptz,
    source         text,
    attempt        integer NOT NULL,
    origin         text NOT NULL,
    origin_ref     text,
    sub_request_id text,
    state          text NOT NULL CHECK (state IN ('open', 'accepted', 'refused', 'withdrawn')),
    code           text,
    transaction_id text,
    creation_date  timestamptz,
    PRIMARY KEY (submission_id, index)
);
-- Never told twice at a time: one open item a key and status. A RET may fly beside an ONAY it pre-empts.
CREATE UNIQUE INDEX submission_items_open ON submission_items (key, status) WHERE state = 'open';
-- What İYS shows in its HS stream is matched with what we told it.
CREATE INDEX submission_items_key ON submission_items (key, status, consent_date);

-- Where pulling stands: one cursor a brand and stream, İYS's own opaque text.
CREATE TABLE cursors (
    brand_code integer NOT NULL REFERENCES brands,
    stream     text NOT NULL CHECK (stream IN ('IYS', 'HS')),
    after      text,
    pulled_at  timestamptz,
    PRIMARY KEY (brand_code, stream)
);

-- One token for all processes of an account; an advisory lock on the account keeps two from asking at once, and
-- each call is counted here before it is made.
CREATE TABLE access_tokens (
    account            text PRIMARY KEY,
    access_token       text,
    refresh_token      text,
    issued_at          timestamptz,
    expires_at         timestamptz,
    refresh_expires_at timestamptz,
    calls              timestamptz[] NOT NULL,
    silent_until       timestamptz,
    failures           integer NOT NULL
);

-- The shared pace of all processes behind one egress address: the next free slot, and how fast we go.
CREATE TABLE budgets (
    egress_address text PRIMARY KEY,
    free_at        timestamptz NOT NULL,
    factor         double precision NOT NULL CHECK (factor > 0 AND factor <= 1),
    paused_until   timestamptz NOT NULL
);

-- How far each partition is ingested; moved only by compare-and-set in the transaction of the rows it brought.
CREATE TABLE kafka_offsets (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    cluster_id  text NOT NULL,
    topic_id    text NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- What is still to be written to Kafka, in the order of id.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    topic       text NOT NULL,
    key         text NOT NULL,
    value       bytea NOT NULL,
    headers     jsonb NOT NULL,
    occurred_at timestamptz NOT NULL
);
