-- İYS's daily files: of each brand and day, what İYS counts, its file with hash and time stamp, and what we have.

CREATE TABLE daily_files (
    brand_code        integer NOT NULL REFERENCES brands,
    -- In Turkish time.
    day               date NOT NULL,
    state             text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'empty', 'fetched', 'compared', 'gone')),
    noted_at          timestamptz NOT NULL,
    next_attempt_at   timestamptz NOT NULL,
    attempts          integer NOT NULL DEFAULT 0,
    -- Why the last attempt failed; names nobody.
    error             text,
    -- What İYS counts, before there is a file.
    counts            jsonb,
    process_status    text,
    hash_value        text,
    -- What stood before the lines where İYS made its hash: a byte order mark, column names, both or nothing.
    hashed_prefix     bytea,
    lines             bigint,
    fetched_at        timestamptz,
    -- Of our own file of that day, and how many lines only one of both files has.
    own_hash          text,
    only_at_iys       bigint,
    only_here         bigint,
    -- The lines up to here that only İYS's file had were published and recorded.
    entered_lines     bigint NOT NULL DEFAULT 0,
    entered           bigint NOT NULL DEFAULT 0,
    compared_at       timestamptz,
    redacted          bigint NOT NULL DEFAULT 0,
    timestamp_reply   bytea,
    timestamp_state   text CHECK (timestamp_state IN ('missing', 'unverified', 'verified', 'wrong')),
    timestamped_at    timestamptz,
    -- Agreement cannot be taken back. Who ordered it, and when İYS had it.
    agree_ordered_by  text,
    agreed_at         timestamptz,
    PRIMARY KEY (brand_code, day),
    CHECK (state <> 'fetched' OR num_nulls(hash_value, hashed_prefix, lines, fetched_at) = 0),
    CHECK (state <> 'compared' OR num_nulls(own_hash, only_at_iys, only_here, compared_at) = 0)
);
COMMENT ON COLUMN daily_files.state IS
    'waiting: İYS has no file yet, or it could not be fetched. empty: the day has no movements. fetched: the file is
here and its hash is right. compared: what it has and we had not is recorded. gone: İYS shows it no more.';
-- Finds what is due.
CREATE INDEX daily_files_due ON daily_files (next_attempt_at) WHERE state IN ('waiting', 'fetched');

-- The lines of a file in the order of İYS's, some thousand in each part, compressed with zlib.
CREATE TABLE daily_parts (
    brand_code integer NOT NULL,
    day        date NOT NULL,
    part       integer NOT NULL,
    content    bytea NOT NULL,
    PRIMARY KEY (brand_code, day, part),
    FOREIGN KEY (brand_code, day) REFERENCES daily_files ON DELETE CASCADE
);
ALTER TABLE daily_parts ALTER COLUMN content SET STORAGE EXTERNAL;

-- Finds what İYS showed of a brand's movements on a day, by İYS's own instant.
CREATE INDEX movements_created ON movements (split_part(key, '/', 1), (data ->> 'creation_date') COLLATE "C")
    WHERE kind = 'observation';
