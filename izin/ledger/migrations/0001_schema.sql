-- The ledger: what each key should have at İYS, what İYS holds, what is still due, and everything that happened.
--
-- All instants are timestamptz. ONAY (opt-in), RET (opt-out), channels and recipient types are İYS's own values, states
-- are those of izin.consent.transitions. Tables of facts carry customer_id.


-- Customers and brands ------------------------------------------------------------------------------------------------

-- Whose consents are managed: a company with brands at İYS. No number of a natural person (T.C. kimlik numarası) is
-- stored: whoever registers a customer refuses one, also within a MERSİS number.
CREATE TABLE customers (
    customer_id     text PRIMARY KEY CHECK (customer_id <> ''),
    name            text NOT NULL CHECK (name <> ''),
    created_at      timestamptz NOT NULL,
    -- What it is, and under which numbers the state knows it.
    kind            text CHECK (kind IN ('legal', 'merchant', 'craftsman', 'other')),
    mersis          text CHECK (mersis ~ '^[0-9]{16}$'),
    vkn             text CHECK (vkn ~ '^[0-9]{10}$'),
    iys_code        integer CHECK (iys_code > 0),
    -- Since when nothing more is done for it. NULL: it is a customer.
    offboarded_at   timestamptz,
    -- Of how many keys in a hundred one source may opt out within an hour, and below how many opt-outs that is not
    -- looked at. NULL: the customer has set no brake.
    brake_share     double precision CHECK (brake_share > 0 AND brake_share < 100),
    brake_at_least  integer CHECK (brake_at_least > 0),
    -- How many opt-outs one source may reverse within an hour. NULL: the customer has set no such limit.
    brake_reversals integer CHECK (brake_reversals > 0),
    CONSTRAINT customers_brake_check CHECK ((brake_share IS NULL) = (brake_at_least IS NULL))
);

-- One brand of a customer at İYS, as the operator registered it, with the subscription of its provider as İYS last
-- reported it.
CREATE TABLE brands (
    brand_code           integer PRIMARY KEY,
    iys_code             integer NOT NULL,
    customer_id          text NOT NULL REFERENCES customers,
    name                 text NOT NULL,
    -- NULL: the first load is still running, and the deadline of three business days does not apply yet.
    activated_at         timestamptz,
    loading_deadline     timestamptz,
    status               text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'stopped')),
    -- Why nothing commercial may be sent for it: the reason of the order, which is published with the brand. NULL: it
    -- may.
    suspension           text CHECK (suspension <> ''),
    updated_at           timestamptz NOT NULL,
    -- The account and the egress address that serve the brand, for several of both share one ledger. NULL: any.
    account              text CHECK (account <> ''),
    egress_address       text CHECK (egress_address <> ''),
    -- The limits are NULL for partners: İYS does not report them.
    subscription         text,
    subscription_ends_at timestamptz,
    consent_limit        integer,
    consents_used        integer,
    queried_at           timestamptz
);

-- Whether a process of this account and egress address serves the brand.
CREATE FUNCTION is_served_by(b brands, account text, address text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (b.account IS NULL OR b.account = is_served_by.account)
        AND (b.egress_address IS NULL OR b.egress_address = address)
$$;

-- A brand code that events name and brands does not have. The keys of a recipient are looked up brand by brand, these
-- included.
CREATE TABLE unknown_brands (
    brand_code integer PRIMARY KEY,
    since      timestamptz NOT NULL
);

-- What a customer has given for its application to İYS: one item of the checklist each, a number, a name, a reference to
-- a document.
CREATE TABLE application_items (
    customer_id text NOT NULL REFERENCES customers,
    item        text NOT NULL CHECK (item <> ''),
    -- Of which brand; 0: of the customer.
    brand_code  integer NOT NULL,
    value       text NOT NULL CHECK (value <> ''),
    given_by    text NOT NULL,
    given_at    timestamptz NOT NULL,
    PRIMARY KEY (customer_id, item, brand_code)
);

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


-- What İYS lists of the brands that providers have granted to our account ---------------------------------------------

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


-- Suspensions ---------------------------------------------------------------------------------------------------------

-- A person's order that nothing is submitted to İYS (iys), or that nothing commercial may be sent (gate): of one brand, or
-- of every brand of a customer, those added later too. What follows from the orders of a brand is in suspensions and in
-- brands.suspension.
CREATE TABLE suspension_orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text REFERENCES customers,
    brand_code  integer REFERENCES brands,
    part        text NOT NULL CHECK (part IN ('iys', 'gate')),
    reason      text NOT NULL CHECK (reason <> ''),
    ordered_by  text NOT NULL,
    since       timestamptz NOT NULL,
    CHECK (num_nonnulls(customer_id, brand_code) = 1),
    UNIQUE NULLS NOT DISTINCT (customer_id, brand_code, part)
);

-- A suspension: records of this brand, channel and status are not submitted until an operator or İYS removes the cause.
-- A lost right suspends one channel, a spent quota only new ONAYs; '*' is every channel or every status.
CREATE TABLE suspensions (
    brand_code  integer NOT NULL REFERENCES brands,
    channel     text NOT NULL CHECK (channel IN ('ARAMA', 'MESAJ', 'EPOSTA', '*')),
    status      text NOT NULL CHECK (status IN ('ONAY', 'RET', '*')),
    customer_id text NOT NULL,
    code        text NOT NULL,
    reason      text NOT NULL,
    since       timestamptz NOT NULL,
    -- From then on one call may try whether the cause is gone. NULL: an operator declared that the brand has no right
    -- to write here. No call tries that, for İYS would refuse it (H353) and count it against our address; it lasts
    -- until an operator gives the right back.
    recheck_at  timestamptz,
    rechecks    integer NOT NULL DEFAULT 0,
    -- What the fault at İYS concerns: this brand, every brand of its provider (the subscription), or every brand of our
    -- account. The result of one try counts for all of them.
    scope       text NOT NULL DEFAULT 'brand' CHECK (scope IN ('brand', 'provider', 'account')),
    PRIMARY KEY (brand_code, channel, status)
);

-- Whether a suspension concerns this channel and status.
CREATE FUNCTION covers(s suspensions, channel text, status text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.channel IN ('*', covers.channel) AND s.status IN ('*', covers.status)
$$;

-- Whether a suspension does not even let one call try now.
CREATE FUNCTION is_closed(s suspensions, now timestamptz) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.recheck_at > now OR s.recheck_at IS NULL
$$;


-- API keys ------------------------------------------------------------------------------------------------------------

-- What one machine may do, and for whom; the same is published to the topic api-keys, which the endpoints read. The key
-- itself is stored nowhere, only the SHA-256 of its secret part. A revoked key stays: it is named by the events that it
-- published.
CREATE TABLE api_keys (
    id          text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{12}-[1-9][0-9]{0,5}$'),
    name        text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    scopes      text[] NOT NULL
        CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['publish', 'subscribe', 'ask', 'operate']),
    customers   text[] NOT NULL CHECK (cardinality(customers) > 0),
    -- Empty: every brand of the customers, and every channel.
    brands      integer[] NOT NULL,
    channels    text[] NOT NULL CHECK (channels <@ ARRAY['ARAMA', 'MESAJ', 'EPOSTA']),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz,
    -- When the next key of its family replaced it. It stays valid until expires_at.
    replaced_at timestamptz
);
-- Refuses a second key of a name: the name is the actor of the events that a key publishes.
CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL AND replaced_at IS NULL;


-- Consents and their lifecycle ----------------------------------------------------------------------------------------

-- One key: what is desired, what is registered at İYS, and the obligation that is still due. The fillfactor leaves room
-- on the page for updates.
CREATE TABLE consents (
    key                       text PRIMARY KEY,
    customer_id               text NOT NULL,
    brand_code                integer NOT NULL,
    channel                   text NOT NULL CHECK (channel IN ('ARAMA', 'MESAJ', 'EPOSTA')),
    recipient_type            text NOT NULL CHECK (recipient_type IN ('BIREYSEL', 'TACIR')),
    -- Without an index: it would cost every change of every row an entry. A key contains its recipient, so the keys of
    -- a recipient are looked up by primary key, six for each brand of brands and unknown_brands.
    recipient                 text NOT NULL,

    -- Desired: the last event that changed what İYS should hold.
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
    -- What the latest opt-out said, while an opt-in is desired. NULL: not known, or no opt-out.
    ret_event_id              text,
    ret_rank                  smallint,
    ret_origin                text,
    ret_origin_ref            text,
    ret_source                text,
    ret_consent_date          timestamptz,
    ret_registrable           boolean,

    -- Registered: what İYS holds, as far as known.
    registered                text NOT NULL
        CHECK (registered IN ('ONAY', 'RET', 'NONE', 'NOT_ONAY', 'UNKNOWN')),
    registered_at             timestamptz,
    registered_consent_date   timestamptz,
    registered_source         text,
    registered_transaction_id text,
    verified_at               timestamptz,
    verified_by               text,

    -- The obligation: its state, the action that is due, and by when.
    state                     text NOT NULL CHECK (state IN (
        'pending', 'in_flight', 'awaiting_result', 'unknown', 'accepted', 'refused', 'retryable',
        'parked', 'expired', 'not_needed')),
    action                    text NOT NULL CHECK (action IN ('send', 'query', 'wait', 'rescue', 'nothing')),
    reason                    text,
    code                      text,
    due_at                    timestamptz,
    expires_at                timestamptz,
    attempts                  integer NOT NULL,
    next_attempt_at           timestamptz,
    lease_owner               text,
    lease_until               timestamptz,
    onay_open                 boolean NOT NULL,
    ret_open                  boolean NOT NULL,
    -- A new obligation of the key has neither. Without a foreign key: its check would cost every new row.
    brake_id                  integer,
    withdrawn_at              timestamptz,
    ret_withdrawn_at          timestamptz,
    void_event_id             text,

    may_send                  boolean NOT NULL,
    permission_reason         text,
    permission_since          timestamptz,
    updated_at                timestamptz NOT NULL,
    last_exchange_at          timestamptz,

    CHECK ((desired_status IS NULL) = (desired_event_id IS NULL)),
    CHECK ((desired_status IS NULL) = (desired_at IS NULL))
) WITH (fillfactor = 85);
COMMENT ON COLUMN consents.ret_event_id IS 'Under an opt-in: the event of the latest opt-out, as the columns behind it.';
COMMENT ON COLUMN consents.onay_open IS 'An ONAY of this key has been submitted and its result is not known yet.';
COMMENT ON COLUMN consents.ret_open IS 'A RET of this key has been submitted and its result is not known yet.';
COMMENT ON COLUMN consents.brake_id IS 'The brake that holds this opt-out or opt-in back.';
COMMENT ON COLUMN consents.withdrawn_at IS
    'When a person decided that this opt-out, which stays one, or this opt-in is not registered at İYS.';
COMMENT ON COLUMN consents.ret_withdrawn_at IS 'When a person decided that this opt-out is not registered at İYS.';
COMMENT ON COLUMN consents.void_event_id IS
    'The newest event, an opt-in that İYS never gets, or an opt-out that was withdrawn: the one before it is desired.';
COMMENT ON COLUMN consents.last_exchange_at IS
    'When this key was last submitted to İYS, or the result came. Two movements of a key have to reach İYS at least a '
    'second apart: its clock is no finer.';

-- Claims the records of one brand, channel and status in the order of due_at, without those that a brake holds back. The
-- key is left out: rows that are due at the same instant have no order among them, and it would double the size of the
-- index.
CREATE INDEX consents_sendable ON consents (brand_code, channel, desired_status, due_at)
    WHERE state IN ('pending', 'retryable') AND action = 'send' AND brake_id IS NULL;
-- Finds what a brake holds back, and what it may hold back no longer.
CREATE INDEX consents_held_back ON consents (due_at) WHERE brake_id IS NOT NULL;
-- Finds ONAYs in the last hour of their term, which are submitted one by one, and those whose term has expired.
CREATE INDEX consents_expiring ON consents (expires_at)
    WHERE state IN ('pending', 'retryable') AND desired_status = 'ONAY' AND expires_at IS NOT NULL;
-- Finds the records whose status has to be queried at İYS, in the groups that one call can query.
CREATE INDEX consents_to_query ON consents (brand_code, channel, recipient_type, next_attempt_at)
    WHERE action = 'query' AND NOT onay_open AND NOT ret_open;
-- Finds what a sweep could not settle: the gates that it shut first, each in the order in which it was found.
CREATE INDEX consents_swept ON consents ((registered <> 'NOT_ONAY'), next_attempt_at)
    WHERE action = 'query' AND (reason = 'swept' OR state IN ('refused', 'expired', 'parked'));
-- Lists the parked records of a brand by reason, for an operator.
CREATE INDEX consents_parked ON consents (brand_code, reason) WHERE state = 'parked';
-- Counts what is not settled by brand and channel and watches its deadlines, without reading what is settled.
CREATE INDEX consents_unsettled ON consents (brand_code, channel, desired_status, due_at)
    WHERE state IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown', 'parked');
-- Finds the opt-outs that wait for what becomes of an opt-in: a few, among the many that are not settled.
CREATE INDEX consents_waiting ON consents (key) WHERE desired_status = 'RET' AND action = 'wait';
-- Adds the opt-outs that wait for their rescue event to those counts: their state may be a settled one.
CREATE INDEX consents_rescued ON consents (brand_code) WHERE action = 'rescue';

CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'illegal transition'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'consents_lawful',
            DETAIL = OLD.state || ' to ' || NEW.state;
END $$;

-- The database refuses every transition that the lifecycle does not have.
--
-- A desired event that differs from the one before starts a new obligation in the same row. It differs by its id, which
-- the sender chooses, or by its status, for a sender may give an opt-out the id of the opt-in before it; and one that is
-- set aside as void starts another one too. A settled obligation may become due again and be parked or expire in one
-- update, so those two steps count as one transition. An expired obligation comes back only where it expired for its
-- term alone, and the term now ends later than it did (NULL: never).
CREATE TRIGGER consents_lawful BEFORE UPDATE ON consents FOR EACH ROW
    WHEN (
        -- Generated from izin.consent.transitions: begin
        CASE
            WHEN OLD.desired_event_id IS DISTINCT FROM NEW.desired_event_id
                    OR OLD.desired_status IS DISTINCT FROM NEW.desired_status
                    OR OLD.void_event_id IS DISTINCT FROM NEW.void_event_id
                THEN NEW.state NOT IN ('expired', 'not_needed', 'parked', 'pending')
            ELSE OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
                'pending expired', 'pending in_flight', 'pending not_needed', 'pending parked',
                'in_flight accepted', 'in_flight awaiting_result', 'in_flight expired', 'in_flight not_needed',
                'in_flight parked', 'in_flight refused', 'in_flight retryable', 'in_flight unknown',
                'awaiting_result accepted', 'awaiting_result expired', 'awaiting_result not_needed', 'awaiting_result parked',
                'awaiting_result refused', 'awaiting_result retryable', 'awaiting_result unknown',
                'unknown accepted', 'unknown expired', 'unknown not_needed', 'unknown parked',
                'unknown refused', 'unknown retryable',
                'accepted expired', 'accepted parked', 'accepted pending',
                'refused not_needed',
                'retryable expired', 'retryable in_flight', 'retryable not_needed', 'retryable parked',
                'parked expired', 'parked not_needed', 'parked pending',
                'expired not_needed', 'expired pending',
                'not_needed expired', 'not_needed parked', 'not_needed pending')
        END
        -- Generated from izin.consent.transitions: end
        OR OLD.state = 'expired' AND NEW.state = 'pending' AND OLD.desired_event_id = NEW.desired_event_id
            AND OLD.desired_status = NEW.desired_status
            AND (OLD.reason IS DISTINCT FROM 'term-ended' OR NEW.expires_at <= OLD.expires_at)
    )
    EXECUTE FUNCTION refuse_transition();

-- The retailers that may use the consent of one key whose events name retailers; an opt-out deletes the row. Where İYS
-- holds the consent already, other retailers are not submitted again: an operator changes them at İYS, for no reply of
-- İYS reports the result of such a change.
CREATE TABLE retailer_access (
    key               text PRIMARY KEY,
    customer_id       text NOT NULL,
    brand_code        integer NOT NULL,
    channel           text NOT NULL,
    -- What İYS last received, from us or from an operator. NULL: no retailers.
    registered_code   integer,
    registered_access integer[],
    -- The event that names others, and which. NULL: no difference.
    desired_by        text,
    desired_code      integer,
    desired_access    integer[],
    since             timestamptz,
    CHECK ((desired_by IS NULL) = (since IS NULL))
);
-- Lists the differences of a brand, for an operator.
CREATE INDEX retailer_access_parked ON retailer_access (brand_code, key) WHERE desired_by IS NOT NULL;


-- Eligibility ---------------------------------------------------------------------------------------------------------

-- Each rule is written once. PostgreSQL inlines these functions into the statements that call them, so that indexes and
-- plans are those of the written-out condition (tests/integration/ledger/test_query_plans.py).

-- Whether a row may be submitted now. Two movements of a key reach İYS at least a second apart, for it has no finer
-- clock and would give both one transaction id. A RET may overtake an unsettled ONAY of its key, never another RET.
-- A query of its status by a process that lives comes first; a statement asks once for `(SELECT living())`. What a
-- brake holds back waits, however many such rows there are: they are not in the index that finds what is due.
CREATE FUNCTION is_sendable(c consents, now timestamptz, living text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.state IN ('pending', 'retryable') AND c.action = 'send' AND c.brake_id IS NULL
        AND (c.next_attempt_at IS NULL OR c.next_attempt_at <= now)
        AND (c.lease_until IS NULL OR c.lease_until <= now OR c.lease_owner <> ALL(living))
        AND (c.last_exchange_at IS NULL OR c.last_exchange_at <= now - interval '1 second')
        AND (c.expires_at IS NULL OR c.expires_at >= now)
        AND NOT c.ret_open AND (NOT c.onay_open OR c.desired_status = 'RET')
$$;

-- Whether İYS may show ONAY: it did, or an ONAY is in flight, which it may have processed before its result is read.
CREATE FUNCTION may_show_onay(c consents) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.registered = 'ONAY' OR c.onay_open
$$;

-- Whether the status of a row may be queried at İYS now: what is submitted and unanswered has its own way to settle.
CREATE FUNCTION is_queryable(c consents, now timestamptz, living text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.action = 'query' AND NOT c.onay_open AND NOT c.ret_open
        AND (c.next_attempt_at IS NULL OR c.next_attempt_at <= now)
        AND (c.lease_until IS NULL OR c.lease_until <= now OR c.lease_owner <> ALL(living))
$$;

-- Whether the status of a row has to be queried alone, for a sweep could not settle it. The reason of what is refused,
-- expired or parked stays as it is, for a person reads it; nothing else queries such a row.
CREATE FUNCTION is_swept(c consents) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.action = 'query' AND (c.reason = 'swept' OR c.state IN ('refused', 'expired', 'parked'))
$$;

-- Whether something is still due to İYS, or waits for a person or for its rescue.
CREATE FUNCTION is_unsettled(c consents) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.state IN ('pending', 'retryable', 'in_flight', 'awaiting_result', 'unknown', 'parked')
        OR c.action = 'rescue'
$$;

-- Whether the recipient of a row opted out, here or at İYS, and no later consent is known.
CREATE FUNCTION is_opted_out(c consents) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.registered = 'RET' OR coalesce(c.desired_status = 'RET', false)
        OR coalesce(c.permission_reason = 'opted-out', false)
$$;


-- Brakes: automatic suspension of one source's opt-outs or opt-ins ----------------------------------------------------

-- Where one source opts out more of a brand's keys within an hour than the brand's customer allows, its opt-outs take
-- effect at once, and are registered at İYS when a person has decided, or a day before they are due. Where it has
-- reversed more opt-outs than the customer allows, its opt-ins over opt-outs are not submitted until a person has decided.

-- How many keys of a brand desire ONAY: counted once, and kept by ingest from then on, for the brands of customers that
-- have set a brake.
CREATE TABLE opt_in_counts (
    brand_code integer PRIMARY KEY REFERENCES brands,
    keys       bigint NOT NULL
);

-- What counts against those limits. A source is the API key that published the events, else the origin that they name.
CREATE TABLE recent_opt_outs (
    brand_code  integer NOT NULL REFERENCES brands,
    source      text NOT NULL,
    key         text NOT NULL,
    event_id    text NOT NULL,
    status      text NOT NULL DEFAULT 'RET' CHECK (status IN ('RET', 'ONAY')),
    over_ret    boolean NOT NULL DEFAULT false,
    -- When they were ingested: no clock of a sender is in it.
    noted_at    timestamptz NOT NULL,
    PRIMARY KEY (brand_code, source, key)
);
COMMENT ON TABLE recent_opt_outs IS
    'The opt-outs, and the opt-ins over opt-outs, of the last hour by whom they came: the latest of each key.';
COMMENT ON COLUMN recent_opt_outs.over_ret IS 'Whether an opt-out was desired before.';
-- Counts the events of a source within the hour.
CREATE INDEX recent_opt_outs_noted ON recent_opt_outs (brand_code, source, noted_at);

-- A brake that tripped: opt-outs of a source, or its opt-ins over opt-outs, are held back from then on, those of the hour
-- before too, until a person decides.
CREATE TABLE brakes (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    brand_code  integer NOT NULL REFERENCES brands,
    source      text NOT NULL,
    status      text NOT NULL DEFAULT 'RET' CHECK (status IN ('RET', 'ONAY')),
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
COMMENT ON COLUMN brakes.status IS 'Of the events that are held back. Opt-ins have neither a share nor a count beside.';
-- Refuses a second open brake on the same opt-outs, or opt-ins.
CREATE UNIQUE INDEX brakes_open ON brakes (brand_code, source, status) WHERE decision IS NULL;

-- Until when a brake may hold an opt-out back: a day before it is due at most. NULL: it may not.
CREATE FUNCTION held_back_until(c consents) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.due_at - interval '24 hours'
$$;


-- Processes and leases ------------------------------------------------------------------------------------------------

-- A process of the sinks, and how often it has shown that it makes progress. Others fence one that is silent: it may be
-- frozen, or its host powered off.
CREATE TABLE processes (
    owner text PRIMARY KEY,
    beats bigint NOT NULL
);

-- The processes that deliver webhooks, among all that live. They share the subscribers, and do nothing else.
CREATE TABLE webhook_processes (
    owner text PRIMARY KEY
);

-- The processes that run now: each holds an advisory lock of its number as long as it lives.
CREATE FUNCTION living() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ARRAY(
        SELECT l.objid::text FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = 29541::oid
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
$$;

-- Whether a process lives: it has the advisory lock on its number, as long as its session lasts.
CREATE FUNCTION is_alive(owner text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT is_alive.owner = ANY(living())
$$;

-- Whether no other process of the sinks runs; those that deliver webhooks submit nothing.
CREATE FUNCTION is_alone(owner text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT living() <@ (ARRAY[is_alone.owner] || ARRAY(SELECT w.owner FROM webhook_processes AS w))
$$;

-- The lease of a piece of work that one process does at a time. The epoch rises with every owner, and each transaction
-- of an owner begins with a check of its epoch. The constraint on both makes the epoch a key column: the share lock of
-- such a check makes a rise of the epoch wait, and delays nothing else.
CREATE TABLE leases (
    name  text PRIMARY KEY,
    owner text NOT NULL,
    epoch bigint NOT NULL,
    UNIQUE (name, epoch)
);


-- Submissions ---------------------------------------------------------------------------------------------------------

-- One call to İYS: the exact body is stored before it is sent, and the reply before anything else.
CREATE TABLE submissions (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     text NOT NULL,
    brand_code      integer NOT NULL REFERENCES brands,
    kind            text NOT NULL CHECK (kind IN ('single', 'batch')),
    -- NULL once it is settled: the history has what it said, and a body names up to a thousand recipients.
    body            text,
    state           text NOT NULL
        CHECK (state IN ('intent', 'awaiting_result', 'unknown', 'settled')),
    lease_owner     text,
    lease_until     timestamptz,
    lease_epoch     integer NOT NULL DEFAULT 0,
    call_until      timestamptz,
    request_id      text,
    intended_at     timestamptz NOT NULL,
    answered_at     timestamptz,
    settled_at      timestamptz,
    next_poll_at    timestamptz,
    polls           integer NOT NULL DEFAULT 0,
    sends           integer NOT NULL DEFAULT 1,
    refusals        integer NOT NULL DEFAULT 0,
    is_freed        boolean NOT NULL DEFAULT false,
    code            text,
    sub_request_ids text[],
    CHECK ((body IS NULL) = (state = 'settled'))
);
COMMENT ON COLUMN submissions.lease_epoch IS
    'Counts who has claimed it: a task whose lease ended may find that another one of its own process has it.';
COMMENT ON COLUMN submissions.call_until IS
    'Until when a call that may have been written can still be on its way: from then on İYS is asked about it. NULL: '
    'no call was ever written, and what has changed meanwhile may be left out.';
COMMENT ON COLUMN submissions.is_freed IS
    'Items were taken out of it before any call: its body has them still, so it must be built again.';
COMMENT ON COLUMN submissions.sub_request_ids IS
    'The ids that İYS gave the items, in the order of the body, valid as long as request_id is. One list here is '
    'written once; ids on the items would be an update of each of a thousand rows.';
-- Finds the batch whose result is to be polled next.
CREATE INDEX submissions_waiting ON submissions (next_poll_at) WHERE state = 'awaiting_result';
-- Finds the submissions whose retention has ended.
CREATE INDEX submissions_settled ON submissions (settled_at, id) WHERE state = 'settled';
-- Finds the calls that have no reply, to recover those whose lease has run out.
CREATE INDEX submissions_unanswered ON submissions (lease_until) WHERE state IN ('intent', 'unknown');

-- Whether a process may claim a submission as far as leases go: nobody has it, or whoever has it is gone.
CREATE FUNCTION is_free(s submissions, owner text, now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT s.lease_until IS NULL OR s.lease_until <= now OR s.lease_owner <> owner AND NOT is_alive(s.lease_owner)
$$;

-- One record of a submission, with the status that it asks İYS to register. It has no foreign key: items are written
-- and deleted in the transaction of their submission, so a check would only cost writes. İYS's full reply to an item is
-- in history.
CREATE TABLE submission_items (
    submission_id bigint NOT NULL,
    index         integer NOT NULL,
    customer_id   text NOT NULL,
    key           text NOT NULL,
    event_id      text NOT NULL,
    status        text NOT NULL CHECK (status IN ('ONAY', 'RET')),
    consent_date  timestamptz,
    source        text,
    attempt       integer NOT NULL,
    origin        text NOT NULL,
    origin_ref    text,
    state         text NOT NULL CHECK (state IN ('open', 'accepted', 'refused', 'withdrawn')),
    code          text,
    PRIMARY KEY (submission_id, index)
);
-- Refuses a second open item of a key and status: nothing is submitted twice at a time, though a RET may be in flight
-- beside the ONAY that it overtakes. Nothing is looked up here. Where few items were open when the table was last
-- analyzed, PostgreSQL chose this index to find the items of one submission, and read a third of a million entries a
-- query, items settled since included. A condition that no query repeats keeps it out of every plan.
CREATE UNIQUE INDEX submission_items_open ON submission_items (key, status) WHERE state || '' = 'open';
-- Distinguishes our own movements in İYS's HS stream from those of other writers: same key, status and consent date.
CREATE INDEX submission_items_key ON submission_items (key, status, consent_date);

-- The submissions for whose outcome opt-outs wait: what becomes of them depends on an opt-in that is open there.
CREATE FUNCTION awaited_by_opt_outs() RETURNS TABLE (id bigint) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT i.submission_id
    FROM consents AS c JOIN submission_items AS i ON i.key = c.key AND i.status = 'ONAY' AND i.state = 'open'
    WHERE c.desired_status = 'RET' AND c.action = 'wait'
$$;

-- Whether anything of a key is still due to İYS, or on its way there.
CREATE FUNCTION is_owed(c consents) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT is_unsettled(c) OR c.action <> 'nothing' OR c.onay_open OR c.ret_open
        OR EXISTS (SELECT FROM retailer_access AS a WHERE a.key = c.key AND a.desired_by IS NOT NULL)
        OR EXISTS (
            SELECT FROM submission_items AS i JOIN submissions AS s ON s.id = i.submission_id
            WHERE i.key = c.key AND s.state <> 'settled')
$$;


-- Tokens and rate limits ----------------------------------------------------------------------------------------------

-- The access token of an account, shared by its processes. An advisory lock on the account lets one of them renew it.
CREATE TABLE access_tokens (
    account            text PRIMARY KEY,
    access_token       text,
    refresh_token      text,
    issued_at          timestamptz,
    expires_at         timestamptz,
    refresh_expires_at timestamptz,
    failures           integer NOT NULL,
    -- Two bytes of a digest of the password that the failures are of.
    password_digest    bytea
);

-- The use of one slot: its number, and by when the call has certainly arrived at İYS, in seconds since 1970 by the
-- database clock.
CREATE TYPE slot_use AS (slot bigint, arrived_at double precision);

-- The request rate of one egress address, shared by all accounts and processes behind it, for İYS counts by address.
-- Token calls are recorded before they are made.
CREATE TABLE rate_limits (
    egress_address     text PRIMARY KEY,
    free_at            timestamptz NOT NULL,
    factor             double precision NOT NULL CHECK (factor > 0 AND factor <= 1),
    paused_until       timestamptz NOT NULL,
    token_calls        timestamptz[] NOT NULL DEFAULT '{}',
    token_silent_until timestamptz,
    slot               bigint NOT NULL DEFAULT 0,
    -- The last ten uses to arrive. İYS counts requests when they arrive, and on the way they overtake one another.
    uses               slot_use[] NOT NULL DEFAULT array_fill(ROW(0, '-infinity')::slot_use, ARRAY[10])
        CHECK (array_length(uses, 1) = 10)
);

-- Take the next slot of an address. Returns its number, when it comes, and the database clock's time of reading; no row
-- if the address is not known.
--
-- The slot comes `span` after whichever of the last ten uses arrived first, and replaces that use. `there` is by when
-- the uses of the slots in `used` had arrived. A use that arrived later than assumed, after its place was given to
-- another, is one of the last ten all the same and replaces whichever arrived first. The arithmetic is that of
-- izin.iys.rate_limit.pace. All instants are seconds since 1970 by the database clock; span, within and spacing are
-- seconds.
CREATE FUNCTION take_slot(
    address text, spacing double precision, span double precision, within double precision,
    fastest double precision, creep double precision, used bigint[], there double precision[]
) RETURNS TABLE (slot bigint, comes_at double precision, read_at double precision) LANGUAGE plpgsql AS $$
DECLARE
    a rate_limits;
    was_free_at double precision;
    first integer;
    used_place integer;
BEGIN
    SELECT * INTO a FROM rate_limits AS b WHERE b.egress_address = address FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The last round has no use: it finds whichever arrived first.
    FOR n IN 1 .. cardinality(used) + 1 LOOP
        first := 1;
        used_place := NULL;
        FOR place IN 1 .. 10 LOOP
            IF a.uses[place].slot = used[n] THEN
                used_place := place;
            END IF;
            IF a.uses[place].arrived_at < a.uses[first].arrived_at THEN
                first := place;
            END IF;
        END LOOP;
        IF used_place IS NOT NULL THEN
            a.uses[used_place].arrived_at := there[n];
        ELSIF there[n] > a.uses[first].arrived_at THEN
            a.uses[first] := ROW(used[n], there[n])::slot_use;
        END IF;
    END LOOP;
    slot := a.slot + 1;
    was_free_at := extract(epoch FROM a.free_at);
    read_at := extract(epoch FROM clock_timestamp());
    comes_at := greatest(was_free_at, read_at, a.uses[first].arrived_at + span);
    a.uses[first] := ROW(slot, comes_at + within)::slot_use;
    UPDATE rate_limits AS b SET
        slot = take_slot.slot,
        uses = a.uses,
        free_at = to_timestamp(greatest(was_free_at + spacing / least(a.factor, fastest), comes_at)),
        factor = least(1, a.factor + creep)
    WHERE b.egress_address = address;
    RETURN NEXT;
END;
$$;

-- How many queries with an hourly limit an address made in one minute, counted before they are made.
CREATE TABLE rate_limit_minutes (
    egress_address text NOT NULL,
    operation      text NOT NULL,
    minute         timestamptz NOT NULL,
    calls          integer NOT NULL,
    PRIMARY KEY (egress_address, operation, minute)
);

-- How many calls of an address ended with one code in one hour, and how many of them İYS counts as failures.
CREATE TABLE rate_limit_hours (
    egress_address text NOT NULL,
    hour           timestamptz NOT NULL,
    operation      text NOT NULL,
    code           text NOT NULL,
    calls          bigint NOT NULL,
    failures       bigint NOT NULL,
    PRIMARY KEY (egress_address, hour, operation, code)
);


-- History -------------------------------------------------------------------------------------------------------------

-- History is evidence. Every row is linked to the one before it on its chain: link = sha256(previous link || commitment),
-- commitment = sha256(salt || content of the row), computed by izin/ledger/history/append.py. Heads are anchored
-- outside the ledger, and `izin ledger verify` finds every row that was changed, removed or moved before the last anchor.
-- The commitment of an erased row proves that there was one, and without the salt nobody can guess what it said.

-- The head of one of sixteen chains. A transaction appends to whichever chain no other transaction has locked.
CREATE TABLE chains (
    shard       smallint PRIMARY KEY,
    place       bigint NOT NULL,
    link        bytea NOT NULL,
    recorded_at timestamptz
);
COMMENT ON COLUMN chains.recorded_at IS
    'Of the last row of the chain. No row is recorded earlier than the one before it, so a chain runs through the '
    'months in order.';
INSERT INTO chains (shard, place, link)
SELECT n, 0, sha256(convert_to('izin history ' || n, 'UTF8')) FROM generate_series(0, 15) AS n;

-- One fact about a key, in the partition of the month in which it was recorded. A decision is stored as the bytes that
-- the topic delivered; every other fact is JSON, byte for byte as it was linked, and its source says where it comes
-- from (a submission's item, an outbox row, a movement at İYS).
CREATE TABLE history (
    recorded_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    place       bigint NOT NULL,
    shard       smallint NOT NULL,
    -- A breach is an opt-out that was submitted to İYS only after its third business day; it stays on record. A
    -- bootstrap is a row that was restored from the topic of desired consents, whose decision is lost. A receipt is what
    -- the gate answered a sender.
    kind        text NOT NULL CHECK (kind IN (
        'decision', 'call', 'answer', 'observation', 'outcome', 'delivery', 'act', 'breach', 'bootstrap',
        'receipt', 'erased')),
    link        bytea NOT NULL,
    salt        bytea,
    key         text,
    customer_id text NOT NULL,
    event_id    text,
    status      text,
    source      text,
    data        json,
    decision    bytea,
    commitment  bytea,
    CHECK (CASE
        WHEN commitment IS NULL THEN num_nulls(salt, key) = 0 AND (data IS NULL) <> (decision IS NULL)
            AND (decision IS NOT NULL OR source IS NOT NULL)
        ELSE num_nonnulls(salt, key, event_id, status, source, data, decision) = 0
    END),
    -- What a reader uses of a row is covered by its commitment, or follows from what is. A decision has its columns in its
    -- bytes, and no other kind has such bytes. Of an erased row nothing is covered any more, so that it says nothing:
    -- neither its kind nor whose it was. Nothing separates the salt from what follows it, so its length is fixed.
    CONSTRAINT history_covered_check CHECK (CASE
        WHEN commitment IS NULL THEN kind <> 'erased' AND octet_length(salt) = 16
            AND (kind = 'decision') = (decision IS NOT NULL)
            AND (decision IS NULL OR num_nonnulls(event_id, status, source, data) = 0)
        ELSE kind = 'erased' AND customer_id = '' AND occurred_at = recorded_at AND octet_length(commitment) = 32
    END)
) PARTITION BY RANGE (recorded_at);
COMMENT ON COLUMN history.recorded_at IS 'Never earlier than the row before it on its chain.';
COMMENT ON COLUMN history.salt IS 'Sixteen random bytes of the row''s own.';
COMMENT ON COLUMN history.commitment IS
    'Of a row that was erased: it has nothing else of what the row said, nor its kind. An act names its place.';
COMMENT ON COLUMN history.decision IS
    'An Avro Decision in single-object encoding; it contains event_id, status and source.';

-- Finds the history of a key. The digest of a key takes a third of the space of the key.
CREATE INDEX history_key ON history (hashtextextended(key, 0));
-- Lists the breaches, the latest first, without reading the rest of the history.
CREATE INDEX history_breaches ON history (recorded_at) WHERE kind = 'breach';
-- Finds what İYS showed of a brand's movements on a day, by İYS's own instant.
CREATE INDEX history_created ON history (split_part(key, '/', 1), (data ->> 'creation_date') COLLATE "C")
    WHERE kind = 'observation';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history is append-only: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'history_append_only';
END $$;
-- The one lawful change of a row: it is erased, and keeps its place, its link and its commitment.
CREATE FUNCTION refuse_unless_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.commitment IS NULL AND NEW.commitment IS NOT NULL
        AND (NEW.recorded_at, NEW.place, NEW.shard, NEW.link) = (OLD.recorded_at, OLD.place, OLD.shard, OLD.link)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the history is append-only: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'history_append_only';
END $$;

CREATE TRIGGER history_append_only BEFORE UPDATE OR DELETE ON history
    FOR EACH ROW EXECUTE FUNCTION refuse_unless_erased();
CREATE TRIGGER history_no_truncate BEFORE TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The head of a chain as it was published to the topic and to the anchor file.
CREATE TABLE anchors (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard       smallint NOT NULL REFERENCES chains,
    place       bigint NOT NULL,
    link        bytea NOT NULL,
    anchored_at timestamptz NOT NULL,
    UNIQUE (shard, place)
);
CREATE TRIGGER anchors_append_only BEFORE UPDATE OR DELETE ON anchors
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- Transactions that anchor follow one another, so that ids are committed in their order: the anchor file is continued
-- after its last id.
CREATE FUNCTION anchor_in_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('izin.anchors'));
    RETURN NULL;
END $$;
CREATE TRIGGER anchors_in_order BEFORE INSERT ON anchors FOR EACH STATEMENT EXECUTE FUNCTION anchor_in_turn();
CREATE TRIGGER anchors_no_truncate BEFORE TRUNCATE ON anchors
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One month (UTC) of history. Records are kept for at least ten years after the act (6563 m.11/3) without exception.
CREATE TABLE history_months (
    month        date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    retain_until date NOT NULL,
    dropped_at   timestamptz,
    CONSTRAINT history_months_ten_years CHECK (retain_until >= month + interval '10 years 1 month')
);

-- Create the partition of the month of a day, retained for ten years. It is attached and not created in place, so that
-- writers need not wait. A month that was dropped before can be written again.
--
-- Rows are in the order of their recording, so that a block range index finds those of an hour: evidence reads the rows up
-- to the next anchor, and the report of latencies those of a day. The index by customer finds out whether the month has
-- anything of a customer: a legal hold of the customer keeps it.
CREATE FUNCTION create_month(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', day::timestamp);
    next  date := first + interval '1 month';
    name  text := 'history_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('izin.history'));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE history INCLUDING CONSTRAINTS INCLUDING COMMENTS)', name);
    EXECUTE format('CREATE INDEX %I ON %I USING brin (recorded_at) WITH (autosummarize = on)', name || '_recorded', name);
    EXECUTE format('CREATE INDEX %I ON %I (customer_id)', name || '_customer', name);
    EXECUTE format('CREATE TRIGGER history_no_truncate BEFORE TRUNCATE ON %I
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, first::timestamp AT TIME ZONE 'UTC', next::timestamp AT TIME ZONE 'UTC');
    INSERT INTO history_months (month, retain_until) VALUES (first, next + interval '10 years')
    ON CONFLICT (month) DO UPDATE SET dropped_at = NULL;
END $$;

-- Drop a month whose last links have been kept and anchored. Months are dropped in order, for a gap would break the
-- chains, and the current month never is.
CREATE FUNCTION drop_month(first date, now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM history_months WHERE month < first AND dropped_at IS NULL) THEN
        RAISE EXCEPTION 'an earlier month is retained'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'history_append_only';
    END IF;
    IF now < (first + interval '1 month') AT TIME ZONE 'UTC' THEN
        RAISE EXCEPTION 'the month is not over'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'history_append_only';
    END IF;
    EXECUTE format('DROP TABLE %I', 'history_' || to_char(first, 'YYYY_MM'));
    UPDATE history_months SET dropped_at = now WHERE month = first;
END $$;

-- Where a chain starts after a month was dropped: its last row in that month. The same place is in anchors.
CREATE TABLE chain_cuts (
    shard  smallint NOT NULL REFERENCES chains,
    place  bigint NOT NULL,
    link   bytea NOT NULL,
    cut_at timestamptz NOT NULL,
    PRIMARY KEY (shard, place)
);
CREATE TRIGGER chain_cuts_append_only BEFORE UPDATE OR DELETE ON chain_cuts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER chain_cuts_no_truncate BEFORE TRUNCATE ON chain_cuts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A legal hold: the history of a customer, or of one of its keys, must not be dropped, because a court, an authority or
-- a dispute needs it.
CREATE TABLE legal_holds (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    key         text,
    reason      text NOT NULL,
    since       timestamptz NOT NULL,
    released_at timestamptz
);
COMMENT ON COLUMN legal_holds.key IS 'NULL: every key of the customer.';

-- Whether a legal hold in force concerns a key of a customer.
CREATE FUNCTION is_held(customer text, of_key text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM legal_holds AS h
        WHERE h.released_at IS NULL AND h.customer_id = customer AND (h.key IS NULL OR h.key = of_key))
$$;


-- Erasure -------------------------------------------------------------------------------------------------------------

-- The erasure of one key (6698 m.7): first its state, by an event that the order stage answers; then, once nothing is
-- owed to İYS, its rows here; at last its history, row by row as the retention of each ends. It names the key until then.
CREATE TABLE erasures (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     text NOT NULL,
    key             text,
    event_id        text NOT NULL UNIQUE,
    requested_at    timestamptz NOT NULL,
    acknowledged_at timestamptz,
    last_event_id   text,
    removed_at      timestamptz,
    ended_at        timestamptz,
    erased_at       timestamptz,
    check_at        timestamptz NOT NULL,
    CHECK ((key IS NULL) = (erased_at IS NOT NULL))
);
COMMENT ON COLUMN erasures.event_id IS 'Random: of the event that erases the key in the streams.';
COMMENT ON COLUMN erasures.acknowledged_at IS
    'When the decision on that event was read: every decision before it is in the ledger.';
COMMENT ON COLUMN erasures.last_event_id IS
    'The last event of the key before the erasure. A row with another one is about what happened since, and stays.';
COMMENT ON COLUMN erasures.ended_at IS
    'When the consent ended, if there was one: its evidence is kept for three years after (Yönetmelik m.13).';
-- Finds the erasures that may go on.
CREATE INDEX erasures_open ON erasures (check_at) WHERE key IS NOT NULL AND acknowledged_at IS NOT NULL;
-- Finds whether a key is being erased.
CREATE INDEX erasures_key ON erasures (key) WHERE key IS NOT NULL;

-- Erase rows of the history whose retention has ended: what they said goes, and the commitment that their chain is
-- verified by stays. Returns how many. Whoever calls it computed the commitments, as verifying does, outside the database,
-- and names the places in an act of the same transaction.
CREATE FUNCTION erase_history(keys text[], shards smallint[], places bigint[], commitments bytea[], now timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    erased bigint;
BEGIN
    IF EXISTS (
        SELECT FROM unnest(keys, shards, places) AS e (key, shard, place)
        JOIN history AS m ON hashtextextended(m.key, 0) = hashtextextended(e.key, 0) AND m.key = e.key
            AND (m.shard, m.place) = (e.shard, e.place)
        JOIN history_months AS r ON r.month = date_trunc('month', m.recorded_at AT TIME ZONE 'UTC')
        WHERE r.retain_until >= (erase_history.now AT TIME ZONE 'UTC')::date OR is_held(m.customer_id, m.key))
    THEN
        RAISE EXCEPTION 'the history is retained'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'history_append_only';
    END IF;
    UPDATE history AS m SET commitment = e.commitment, occurred_at = m.recorded_at, kind = 'erased', customer_id = '',
        salt = NULL, key = NULL, event_id = NULL, status = NULL, source = NULL, data = NULL, decision = NULL
    FROM unnest(keys, shards, places, commitments) AS e (key, shard, place, commitment)
    WHERE hashtextextended(m.key, 0) = hashtextextended(e.key, 0) AND m.key = e.key
        AND (m.shard, m.place) = (e.shard, e.place);
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;


-- Kafka: offsets, outbox, sequences -----------------------------------------------------------------------------------

-- How far one partition has been consumed, moved only by compare-and-set in the transaction of the rows it brought.
CREATE TABLE kafka_offsets (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    cluster_id  text NOT NULL,
    topic_id    text NOT NULL,
    next_offset bigint NOT NULL,
    -- Every record appended before this instant has been read. A gap of a sequence may still close while another
    -- partition is behind.
    read_until  timestamptz,
    PRIMARY KEY (topic, partition)
);

-- One partition of the ledger restored from the compacted topic of desired consents, whose decisions retention had
-- removed unread: how far it has been read, and up to where. Decisions that may not wait are read meanwhile.
CREATE TABLE bootstraps (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    topic_id    text NOT NULL,
    next_offset bigint NOT NULL,
    end_offset  bigint NOT NULL,
    -- The decisions are followed from there; it was read before end_offset.
    decisions_from bigint NOT NULL,
    keys        bigint NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (topic, partition)
);

-- How far the decisions on one input partition have been recorded. A decision beyond is certainly new; only one before
-- is looked up in history.
CREATE TABLE recorded_offsets (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- One message that is still to be produced to Kafka, in the order of id.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    topic       text NOT NULL,
    key         text NOT NULL,
    -- NULL: a tombstone.
    value       bytea,
    headers     jsonb NOT NULL,
    occurred_at timestamptz NOT NULL
);

-- A transaction has its number before it takes its first id: a number is given only with the first write, and COPY takes
-- ids for a thousand rows before it writes one. The floor of reads relies on it (horizon in sql/outbox.sql).
CREATE FUNCTION take_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_in_order BEFORE INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION take_number();

-- The sequence numbers of one origin, as read on both input lanes: the first and the last.
CREATE TABLE sequences (
    customer_id  text NOT NULL,
    origin       text NOT NULL,
    first_number bigint NOT NULL,
    last_number  bigint NOT NULL,
    given_up     numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (customer_id, origin),
    CHECK (first_number <= last_number)
);
COMMENT ON COLUMN sequences.given_up IS
    'How many missing numbers are no longer looked for, because there were too many gaps.';

-- One interval of missing numbers of a sequence. Gaps are intervals, so missing numbers are found, in whichever order
-- the others come.
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


-- What İYS shows: pushes and pulls, daily files, sweeps ---------------------------------------------------------------

-- How far one stream of a brand (IYS: citizens' movements, HS: the provider's) has been pulled. `after` is İYS's opaque
-- cursor.
CREATE TABLE stream_cursors (
    brand_code      integer NOT NULL REFERENCES brands,
    stream          text NOT NULL CHECK (stream IN ('IYS', 'HS')),
    after           text,
    -- When the last page was pulled, and when the stream was last read to its end. A stream that has never been read to
    -- its end counts from since.
    last_attempt_at timestamptz,
    last_pulled_at  timestamptz,
    since           timestamptz NOT NULL DEFAULT now(),
    -- When the stream is due; NULL: at once. The instant of the last attempt: there was more after the page.
    next_at         timestamptz,
    -- How often it was begun again from the start of the window. A page that was asked for before is not counted as read.
    restarts        integer NOT NULL DEFAULT 0,
    -- Since when each call for the stream failed, and what the last one failed for; NULL: the last one succeeded.
    failing_since   timestamptz,
    failure         text,
    PRIMARY KEY (brand_code, stream)
);

-- With which credentials İYS pushes the movements of a brand to an address of ours: as fingerprints, never as they are.
CREATE TABLE push_registrations (
    brand_code         integer NOT NULL,
    url                text NOT NULL,
    salt               bytea NOT NULL,
    fingerprint        bytea NOT NULL,
    -- The channels that İYS has these credentials for. registered_at is set once it has them for each channel; until a day
    -- after, those before are accepted too, for İYS may still push the others with them.
    channels           text[] NOT NULL DEFAULT '{}',
    registered_at      timestamptz,
    former_salt        bytea,
    former_fingerprint bytea,
    PRIMARY KEY (brand_code, url)
);

-- A daily file of İYS, by brand and day: what İYS counts, its file with hash and time stamp, and what we have.
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
    'waiting: İYS has no file yet, or it could not be fetched. empty: the day has no movements. fetched: the file is '
    'here and its hash is right. compared: what it has and we had not is recorded. gone: İYS shows it no more.';
-- Finds what is due.
CREATE INDEX daily_files_due ON daily_files (next_attempt_at) WHERE state IN ('waiting', 'fetched');

-- The lines of a file in the order of İYS's, some thousand in each part, compressed with zlib.
CREATE TABLE daily_parts (
    brand_code integer NOT NULL,
    day        date NOT NULL,
    part       integer NOT NULL,
    content    bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (brand_code, day, part),
    FOREIGN KEY (brand_code, day) REFERENCES daily_files ON DELETE CASCADE
);

-- One sweep of a brand: İYS is asked for the status of each of its keys, a thousand in a request. A gap is a time that
-- İYS's pull no longer shows.
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
    skipped_groups text[] NOT NULL DEFAULT '{}',
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


-- Webhooks ------------------------------------------------------------------------------------------------------------

-- Subscribers, how far each has acknowledged, the evidence of each acknowledgement, and failed attempts.
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

-- How far one partition was acknowledged by a subscriber. Lanes keep opt-outs ahead of bulk; those of a resend end at
-- end_offset: one is for what the topics have, one (history) for the opt-outs that are older than their topic. Their
-- cursors have its number, so that whoever still writes those of one that was cancelled moves none of the next.
CREATE TABLE delivery_cursors (
    subscriber_id bigint NOT NULL REFERENCES subscribers,
    lane          text NOT NULL CHECK (lane IN ('express', 'bulk', 'resend', 'history')),
    topic         text NOT NULL,
    partition     integer NOT NULL,
    cluster_id    text NOT NULL,
    topic_id      text NOT NULL,
    next_offset   bigint NOT NULL,
    -- Below next_offset and not acknowledged: on their way, or refused. At most as many as a subscriber's window.
    open_offsets  bigint[] NOT NULL DEFAULT '{}',
    end_offset    bigint,
    -- 0: of no resend.
    resend_id     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (subscriber_id, lane, topic, partition),
    CHECK ((lane IN ('resend', 'history')) = (end_offset IS NOT NULL))
) WITH (fillfactor = 60);

-- An order to send again what a subscriber was sent since an instant; of a selection, in
-- which an empty list of types, brands, channels or origins is all of them.
CREATE TABLE resends (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_id bigint NOT NULL REFERENCES subscribers,
    types         text[] NOT NULL DEFAULT '{}',
    brands        integer[] NOT NULL DEFAULT '{}',
    channels      text[] NOT NULL DEFAULT '{}',
    origins       text[] NOT NULL DEFAULT '{}',
    -- NULL: of every key. Emptied when the resend ends, and of a key that is erased.
    keys          text[],
    ordered_at    timestamptz NOT NULL,
    -- How many events were counted when it was ordered.
    planned       bigint NOT NULL DEFAULT 0,
    finished_at   timestamptz,
    cancelled_at  timestamptz,
    CHECK (cancelled_at IS NULL OR finished_at IS NOT NULL)
);
-- Refuses a second one of a subscriber before the first is done.
CREATE UNIQUE INDEX resends_open ON resends (subscriber_id) WHERE finished_at IS NULL;

-- The keys whose opt-outs are older than their topic, numbered as they are sent. Deleted when the resend ends.
CREATE TABLE resend_opt_outs (
    resend_id bigint NOT NULL REFERENCES resends ON DELETE CASCADE,
    number    bigint NOT NULL,
    key       text NOT NULL,
    PRIMARY KEY (resend_id, number)
);

-- The numbers of batches of acknowledgements.
CREATE SEQUENCE delivery_batches;

-- One acknowledgement: which record a subscriber has taken, when, and with which reply. The rows of a transaction are a
-- batch, whose digest is an entry of the history (source deliveries/<batch>). So `izin ledger verify` finds a row that
-- was changed, added or removed. commitment = sha256(salt || content), as in history.
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
    -- Which resend brought it; NULL: it is a first delivery.
    resend_id     bigint,
    -- Of the entry with the digest of its batch; both are dropped together.
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
-- Counts what a resend has brought.
CREATE INDEX deliveries_resend ON deliveries (resend_id) WHERE resend_id IS NOT NULL;

-- The lawful changes of a delivery: it is erased, or dropped with the month that has its digest.
CREATE FUNCTION refuse_delivery_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
        SELECT FROM history_months AS m
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


-- Complaints ----------------------------------------------------------------------------------------------------------

-- A complaint about a message, and the request of an authority about it. People enter them: İYS has no API for them. While
-- it is open, a legal hold keeps the history of the keys that it concerns.
CREATE TABLE complaints (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     text NOT NULL REFERENCES customers,
    brand_code      integer NOT NULL REFERENCES brands,
    channel         text NOT NULL CHECK (channel IN ('ARAMA', 'MESAJ', 'EPOSTA')),
    recipient       text NOT NULL CHECK (recipient <> ''),
    -- When the message was sent, by the complaint, under which name or number, and what it said.
    sent_at         timestamptz NOT NULL,
    sender          text NOT NULL CHECK (sender <> ''),
    content         text NOT NULL CHECK (content <> ''),
    -- The number of the file at the authority.
    reference       text CHECK (reference <> ''),
    -- By when the request is to be answered, as it says itself. NULL: it names no day; no rule gives one.
    due_at          timestamptz,
    entered_at      timestamptz NOT NULL,
    entered_by      text NOT NULL,
    hold_ids        bigint[] NOT NULL,
    -- The archive of evidence that was handed out: where it was, and its SHA-256.
    evidence_path   text,
    evidence_sha256 text CHECK (evidence_sha256 ~ '^[0-9a-f]{64}$'),
    closed_at       timestamptz,
    closed_by       text,
    outcome         text CHECK (outcome IN ('unfounded', 'justified', 'fined', 'withdrawn')),
    note            text CHECK (note <> ''),
    CHECK (num_nulls(evidence_path, evidence_sha256) IN (0, 2)),
    CHECK (num_nulls(closed_at, closed_by, outcome) IN (0, 3))
);
-- Lists the open ones by what is due first, and counts them.
CREATE INDEX complaints_open ON complaints (due_at, id) WHERE closed_at IS NULL;
-- Finds those of a recipient.
CREATE INDEX complaints_recipient ON complaints (hashtextextended(recipient, 0));


-- Rebuilding and reconciling ------------------------------------------------------------------------------------------

-- What the rows of consents follow from, computed again from the history, and what differs. Nothing here is the only copy
-- of anything, so the tables are not logged: after a crash of the server they are empty, and a rebuild starts over.

-- What the history makes of one key: the columns of consents that follow from decisions alone, and the terms; not what
-- became of the events at İYS.
CREATE UNLOGGED TABLE shadow_consents (
    key                  text PRIMARY KEY,
    customer_id          text NOT NULL,
    brand_code           integer NOT NULL,
    channel              text NOT NULL,
    recipient_type       text NOT NULL,
    recipient            text NOT NULL,
    desired_status       text,
    desired_at           timestamptz,
    desired_rank         smallint,
    desired_event_id     text,
    desired_origin       text,
    desired_origin_ref   text,
    desired_source       text,
    desired_consent_date timestamptz,
    received_at          timestamptz,
    notice_version       text,
    registrable          boolean NOT NULL,
    attested             boolean NOT NULL,
    retailer_code        integer,
    retailer_access      integer[],
    latest_onay_at       timestamptz,
    latest_ret_at        timestamptz,
    ret_event_id         text,
    ret_rank             smallint,
    ret_origin           text,
    ret_origin_ref       text,
    ret_source           text,
    ret_consent_date     timestamptz,
    ret_registrable      boolean,
    due_at               timestamptz,
    expires_at           timestamptz,
    -- The opt-in of another customer over an opt-out: whether it took the row depends on what was due then, which no
    -- decision says.
    passed_over          text,
    -- Why a person must act before anything is submitted, as far as decisions say.
    parked               text
);

-- A part of the keys that is done. The rows of a part and its entry here are written in one transaction.
CREATE UNLOGGED TABLE shadow_slices (
    rebuild   text NOT NULL,
    slice     integer NOT NULL,
    entries bigint NOT NULL DEFAULT 0,
    keys      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (rebuild, slice)
);

-- A key whose row differs from what the history makes of it.
CREATE UNLOGGED TABLE shadow_differences (
    key  text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('missing', 'surplus', 'newer', 'differing', 'terms'))
);
COMMENT ON COLUMN shadow_differences.kind IS
    'missing: there is no row. surplus: no decision is left in the history. newer: the row has something later than '
    'the history. differing: another event or other fields of it. terms: only the ends of its term.';

-- Whether a key is selected: one of these keys or recipients, of one of these brands. NULL: any.
CREATE FUNCTION is_selected(key text, keys text[], recipients text[], brands text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (keys IS NULL AND recipients IS NULL OR is_selected.key = ANY(keys)
            OR substring(is_selected.key FROM '^[^/]*/[^/]*/[^/]*/(.*)$') = ANY(recipients))
        AND (brands IS NULL OR split_part(is_selected.key, '/', 1) = ANY(brands))
$$;

-- Whether an instant is in a period; what has none is in every period.
CREATE FUNCTION is_in_period(at timestamptz, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT at IS NULL OR (since IS NULL OR at >= since) AND (until IS NULL OR at < until)
$$;
