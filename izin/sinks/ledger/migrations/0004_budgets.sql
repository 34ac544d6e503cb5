-- What İYS counts by the hour and the day, it counts by address: so does the ledger, for all processes and accounts
-- behind it. Token calls are counted before they are made, and so are the queries that have a limit an hour.
ALTER TABLE budgets
    ADD COLUMN token_calls timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN token_silent_until timestamptz;
ALTER TABLE access_tokens DROP COLUMN calls, DROP COLUMN silent_until;

-- Queries with a limit an hour, by the minute in which their turn was asked for.
CREATE TABLE budget_minutes (
    egress_address text NOT NULL,
    operation      text NOT NULL,
    minute         timestamptz NOT NULL,
    calls          integer NOT NULL,
    PRIMARY KEY (egress_address, operation, minute)
);

-- Every call and what came of it, by the hour; failures are what İYS counts against an address.
CREATE TABLE budget_hours (
    egress_address text NOT NULL,
    hour           timestamptz NOT NULL,
    operation      text NOT NULL,
    code           text NOT NULL,
    calls          bigint NOT NULL,
    failures       bigint NOT NULL,
    PRIMARY KEY (egress_address, hour, operation, code)
);
