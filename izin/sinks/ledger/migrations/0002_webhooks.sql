-- Webhooks: subscribers, how far each has acknowledged, the evidence of each acknowledgement, and failed attempts.
--
-- Kafka is the queue: nothing is written here for a delivery that waits. What a subscriber has acknowledged is everything
-- below next_offset of its cursors, but for open_offsets.

-- A system of a customer to which events are posted. An empty list of types, brands, channels or origins is all of them.
CREATE TABLE subscribers (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    customer_id     text NOT NULL REFERENCES customers,
    url             text NOT NULL CHECK (url ~ '^https?://'),
    types           text[] NOT NULL
        CHECK (types <@ ARRAY['consent.opted-out', 'permission.granted', 'permission.revoked', 'consent.outcome']),
    brands          integer[] NOT NULL,
    channels        text[] NOT NULL CHECK (channels <@ ARRAY['ARAMA', 'MESAJ', 'EPOSTA']),
    origins         text[] NOT NULL,
    -- How many requests may be under way at a time, one for each recipient.
    parallel        integer NOT NULL CHECK (parallel BETWEEN 1 AND 64),
    -- What signs; whoever signs must have it as it is, so it is no hash.
    secret          text NOT NULL CHECK (secret ~ '^whsec_'),
    former_secret   text CHECK (former_secret ~ '^whsec_'),
    former_until    timestamptz,
    -- Rises with every change of the columns above: whoever delivers starts over with them.
    version         integer NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    paused_at       timestamptz,
    -- Who or what paused it.
    paused_for      text CHECK (paused_for IN ('operator', 'gone')),
    -- Since when it has something that it did not take, and how many of the alerts about that were raised.
    failing_since   timestamptz,
    alerts          smallint NOT NULL DEFAULT 0,
    last_failure    text,
    last_failure_at timestamptz,
    -- When it last had everything of the lane: what began since then may have been compacted away.
    caught_up_at    timestamptz NOT NULL,
    CHECK ((former_secret IS NULL) = (former_until IS NULL)),
    CHECK ((paused_at IS NULL) = (paused_for IS NULL))
);

-- How far one partition was acknowledged by a subscriber. Lanes keep opt-outs ahead of bulk; the lane of a resend ends at
-- end_offset.
CREATE TABLE delivery_cursors (
    subscriber_id bigint NOT NULL REFERENCES subscribers,
    lane          text NOT NULL CHECK (lane IN ('express', 'bulk', 'resend')),
    topic         text NOT NULL,
    partition     integer NOT NULL,
    cluster_id    text NOT NULL,
    topic_id      text NOT NULL,
    next_offset   bigint NOT NULL,
    -- Below next_offset and not acknowledged: on their way, or refused. At most as many as a subscriber's window.
    open_offsets  bigint[] NOT NULL DEFAULT '{}',
    end_offset    bigint,
    PRIMARY KEY (subscriber_id, lane, topic, partition),
    CHECK ((lane = 'resend') = (end_offset IS NOT NULL))
) WITH (fillfactor = 60);

-- An order to send again what a subscriber was sent since an instant, or what it never acknowledged.
CREATE TABLE resends (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_id bigint NOT NULL REFERENCES subscribers,
    only_missing  boolean NOT NULL,
    ordered_at    timestamptz NOT NULL,
    finished_at   timestamptz
);
-- Refuses a second one of a subscriber before the first is done.
CREATE UNIQUE INDEX resends_open ON resends (subscriber_id) WHERE finished_at IS NULL;

-- The numbers of batches of acknowledgements.
CREATE SEQUENCE delivery_batches;

-- One acknowledgement: which record a subscriber has taken, when, and with which reply. The rows of a transaction are a
-- batch, whose digest is a movement of the history (source deliveries/<batch>). So `izin ledger verify` finds a row that
-- was changed, added or removed. commitment = sha256(salt || content), as in movements.
CREATE TABLE deliveries (
    batch         bigint NOT NULL,
    place         integer NOT NULL,
    subscriber_id bigint NOT NULL,
    customer_id   text NOT NULL,
    type          text NOT NULL,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    "offset"      bigint NOT NULL,
    attempts      integer NOT NULL,
    status        smallint NOT NULL,
    delivered_at  timestamptz NOT NULL,
    -- Of the movement with the digest of its batch; both are dropped together.
    recorded_at   timestamptz NOT NULL,
    commitment    bytea NOT NULL,
    salt          bytea,
    webhook_id    text,
    key           text,
    PRIMARY KEY (batch, place),
    CHECK (num_nulls(salt, webhook_id, key) IN (0, 3))
);
COMMENT ON COLUMN deliveries.key IS 'NULL: erased, with salt and webhook_id. An act names its place.';
-- Finds what a subscriber has acknowledged of a partition.
CREATE INDEX deliveries_record ON deliveries (subscriber_id, topic, partition, "offset");
-- Finds the deliveries of a recipient.
CREATE INDEX deliveries_key ON deliveries (hashtextextended(key, 0)) WHERE key IS NOT NULL;
-- Finds the deliveries of a month that is dropped: rows are in the order of their recording.
CREATE INDEX deliveries_recorded ON deliveries USING brin (recorded_at);

-- The lawful changes of a delivery: it is erased, or dropped with the month that has its digest.
CREATE FUNCTION refuse_delivery_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.key IS NOT NULL AND NEW.key IS NULL
        AND (NEW.batch, NEW.place, NEW.subscriber_id, NEW.customer_id, NEW.type, NEW.topic, NEW.partition, NEW."offset",
             NEW.attempts, NEW.status, NEW.delivered_at, NEW.recorded_at, NEW.commitment)
          = (OLD.batch, OLD.place, OLD.subscriber_id, OLD.customer_id, OLD.type, OLD.topic, OLD.partition, OLD."offset",
             OLD.attempts, OLD.status, OLD.delivered_at, OLD.recorded_at, OLD.commitment)
    THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT FROM movement_months AS m
        WHERE m.month = date_trunc('month', OLD.recorded_at AT TIME ZONE 'UTC') AND m.dropped_at IS NOT NULL)
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'deliveries are append-only: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'deliveries_append_only';
END $$;
CREATE TRIGGER deliveries_append_only BEFORE UPDATE OR DELETE ON deliveries
    FOR EACH ROW EXECUTE FUNCTION refuse_delivery_change();
CREATE TRIGGER deliveries_no_truncate BEFORE TRUNCATE ON deliveries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A request that a subscriber did not take.
CREATE TABLE delivery_attempts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_id bigint NOT NULL,
    failed_at     timestamptz NOT NULL,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    "offset"      bigint NOT NULL,
    attempt       integer NOT NULL,
    -- NULL: there was no reply.
    status        smallint,
    failure       text NOT NULL
);
CREATE INDEX delivery_attempts_latest ON delivery_attempts (subscriber_id, failed_at);
CREATE INDEX delivery_attempts_age ON delivery_attempts USING brin (failed_at);

-- The processes that deliver webhooks, among all that live. They share the subscribers, and do nothing else.
CREATE TABLE webhook_processes (
    owner text PRIMARY KEY
);

-- Whether no other process of the sinks runs; those that deliver webhooks submit nothing.
CREATE OR REPLACE FUNCTION is_alone(owner text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT living() <@ (ARRAY[is_alone.owner] || ARRAY(SELECT w.owner FROM webhook_processes AS w))
$$;
