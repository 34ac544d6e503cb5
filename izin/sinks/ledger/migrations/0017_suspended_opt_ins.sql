-- The automatic suspension by source, for opt-ins too: where one source has reversed more opt-outs of a brand within an
-- hour than the brand's customer allows, its opt-ins over opt-outs are not submitted until a person has decided.

-- How many opt-outs one source may reverse within an hour. NULL: the customer has set no such limit.
ALTER TABLE customers ADD COLUMN brake_reversals integer CHECK (brake_reversals > 0);

ALTER TABLE recent_opt_outs
    ADD COLUMN status   text NOT NULL DEFAULT 'RET' CHECK (status IN ('RET', 'ONAY')),
    ADD COLUMN over_ret boolean NOT NULL DEFAULT false;
COMMENT ON TABLE recent_opt_outs IS
    'The opt-outs, and the opt-ins over opt-outs, of the last hour by whom they came: the latest of each key.';
COMMENT ON COLUMN recent_opt_outs.over_ret IS 'Whether an opt-out was desired before.';

ALTER TABLE brakes ADD COLUMN status text NOT NULL DEFAULT 'RET' CHECK (status IN ('RET', 'ONAY'));
COMMENT ON COLUMN brakes.status IS 'Of the events that are held back. Opt-ins have neither a share nor a count beside.';
DROP INDEX brakes_open;
-- Refuses a second open brake on the same opt-outs, or opt-ins.
CREATE UNIQUE INDEX brakes_open ON brakes (brand_code, source, status) WHERE decision IS NULL;

COMMENT ON COLUMN consents.brake_id IS 'The brake that holds this opt-out or opt-in back.';
COMMENT ON COLUMN consents.withdrawn_at IS
    'When a person decided that this opt-out, which stays one, or this opt-in is not registered at İYS.';
COMMENT ON COLUMN consents.void_event_id IS
    'The newest event, an opt-in that İYS never gets, or an opt-out that was withdrawn: the one before it is desired.';
