-- The running numbers of each origin, as they were read on both input lanes: where they begin, which comes next, and the
-- gaps between, each as an interval. What never came is seen, whatever order the rest came in.
CREATE TABLE sequences (
    customer_id  text NOT NULL,
    origin       text NOT NULL,
    first_number bigint NOT NULL,
    last_number  bigint NOT NULL,
    given_up     numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (customer_id, origin),
    CHECK (first_number <= last_number)
);

COMMENT ON COLUMN sequences.given_up IS 'How many missing numbers are no longer looked for, for there were too many gaps.';

CREATE TABLE sequence_gaps (
    customer_id  text NOT NULL,
    origin       text NOT NULL,
    first_number bigint NOT NULL,
    last_number  bigint NOT NULL,
    since        timestamptz NOT NULL,
    PRIMARY KEY (customer_id, origin, first_number),
    FOREIGN KEY (customer_id, origin) REFERENCES sequences,
    CHECK (first_number <= last_number)
);

COMMENT ON COLUMN sequence_gaps.since IS 'When a number beyond the gap was appended to its topic.';

-- Until when a partition is read: a gap may close while another partition is behind.
ALTER TABLE kafka_offsets ADD COLUMN read_until timestamptz;
