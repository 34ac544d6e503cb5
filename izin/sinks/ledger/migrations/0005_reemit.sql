-- Resends: of a selection, distinct from first deliveries, with the opt-outs that are older than their topic.

-- What is sent again. An empty list of types, brands, channels or origins is all of them.
ALTER TABLE resends
    ADD COLUMN types        text[] NOT NULL DEFAULT '{}',
    ADD COLUMN brands       integer[] NOT NULL DEFAULT '{}',
    ADD COLUMN channels     text[] NOT NULL DEFAULT '{}',
    ADD COLUMN origins      text[] NOT NULL DEFAULT '{}',
    -- NULL: of every key. Emptied when the resend ends, and of a key that is erased.
    ADD COLUMN keys         text[],
    -- How many events were counted when it was ordered.
    ADD COLUMN planned      bigint NOT NULL DEFAULT 0,
    ADD COLUMN cancelled_at timestamptz,
    ADD CHECK (cancelled_at IS NULL OR finished_at IS NOT NULL);

-- The keys whose opt-outs are older than their topic, numbered as they are sent. Deleted when the resend ends.
CREATE TABLE resend_opt_outs (
    resend_id bigint NOT NULL REFERENCES resends ON DELETE CASCADE,
    number    bigint NOT NULL,
    key       text NOT NULL,
    PRIMARY KEY (resend_id, number)
);

-- A lane of its own for them. The cursors of a resend have its number, so that whoever still writes those of one that was
-- cancelled moves none of the next.
ALTER TABLE delivery_cursors
    DROP CONSTRAINT delivery_cursors_lane_check,
    DROP CONSTRAINT delivery_cursors_check,
    ADD COLUMN resend_id bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT delivery_cursors_lane_check CHECK (lane IN ('express', 'bulk', 'resend', 'history')),
    ADD CONSTRAINT delivery_cursors_check CHECK ((lane IN ('resend', 'history')) = (end_offset IS NOT NULL));
UPDATE delivery_cursors AS c SET resend_id = r.id
FROM resends AS r WHERE c.lane = 'resend' AND r.subscriber_id = c.subscriber_id AND r.finished_at IS NULL;

-- Which resend brought an event; NULL: it is a first delivery.
ALTER TABLE deliveries ADD COLUMN resend_id bigint;
-- Counts what a resend has brought.
CREATE INDEX deliveries_resend ON deliveries (resend_id) WHERE resend_id IS NOT NULL;

CREATE OR REPLACE FUNCTION refuse_delivery_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.key IS NOT NULL AND NEW.key IS NULL
        AND (NEW.batch, NEW.place, NEW.subscriber_id, NEW.customer_id, NEW.type, NEW.topic, NEW.partition, NEW."offset",
             NEW.attempts, NEW.status, NEW.delivered_at, NEW.recorded_at, NEW.commitment)
          = (OLD.batch, OLD.place, OLD.subscriber_id, OLD.customer_id, OLD.type, OLD.topic, OLD.partition, OLD."offset",
             OLD.attempts, OLD.status, OLD.delivered_at, OLD.recorded_at, OLD.commitment)
        AND NEW.resend_id IS NOT DISTINCT FROM OLD.resend_id
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
