-- What a customer is, and under which numbers the state knows it. No number of a natural person (T.C. kimlik numarası)
-- is stored: whoever registers a customer refuses one, also within a MERSİS number.
ALTER TABLE customers
    ADD COLUMN kind text CHECK (kind IN ('legal', 'merchant', 'craftsman', 'other')),
    ADD COLUMN mersis text CHECK (mersis ~ '^[0-9]{16}$'),
    ADD COLUMN vkn text CHECK (vkn ~ '^[0-9]{10}$'),
    ADD COLUMN iys_code integer CHECK (iys_code > 0),
    -- Since when nothing more is done for it. NULL: it is a customer.
    ADD COLUMN offboarded_at timestamptz;

-- What İYS lists of the brands that providers have granted to our account, and when it was read.

-- A brand in İYS's list, registered here or not. writes and reads are the channels that may be written and read; NULL:
-- the account is the provider's own, and İYS lists no rights. Where the list no longer has a brand that is registered
-- here, its row stays, without rights.
CREATE TABLE granted_brands (
    account           text NOT NULL,
    brand_code        integer NOT NULL,
    iys_code          integer NOT NULL,
    name              text NOT NULL,
    title             text NOT NULL DEFAULT '',
    is_master         boolean NOT NULL DEFAULT false,
    writes            text[],
    reads             text[],
    agreement_control boolean,
    via_control       boolean,
    -- By channel that may no longer be read: when the list last showed that it may. What happened since is pulled again
    -- once the right is back.
    unread_since      jsonb NOT NULL DEFAULT '{}',
    listed_at         timestamptz NOT NULL,
    gone_at           timestamptz,
    PRIMARY KEY (account, brand_code)
);

-- When an account's list was read, and by what it was asked for. What a business partner's subscription is.
CREATE TABLE list_readings (
    account              text PRIMARY KEY,
    -- İYS refused a call for a missing right: the list is read soon.
    asked_at             timestamptz,
    tried_at             timestamptz,
    read_at              timestamptz,
    next_at              timestamptz,
    attempts             integer NOT NULL DEFAULT 0,
    error                text,
    subscription         text,
    subscription_ends_at timestamptz
);

-- The channels that the account which serves a brand may not read.
CREATE VIEW unreadable_channels AS
SELECT b.brand_code, c.channel
FROM granted_brands AS g
JOIN brands AS b ON b.brand_code = g.brand_code AND g.account = coalesce(b.account, g.account)
CROSS JOIN unnest(ARRAY['ARAMA', 'MESAJ', 'EPOSTA']) AS c (channel)
WHERE NOT g.reads @> ARRAY[c.channel];

-- The brands of which the account that serves them may read no channel.
CREATE VIEW unreadable_brands AS
SELECT b.brand_code
FROM granted_brands AS g
JOIN brands AS b ON b.brand_code = g.brand_code AND g.account = coalesce(b.account, g.account)
WHERE g.reads = '{}';

-- The brands whose daily files the account that serves them may not read.
CREATE VIEW brands_without_daily_files AS
SELECT b.brand_code
FROM granted_brands AS g
JOIN brands AS b ON b.brand_code = g.brand_code AND g.account = coalesce(b.account, g.account)
WHERE NOT g.agreement_control;

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
