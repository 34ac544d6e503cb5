-- The opt-out before an opt-in: what it said is kept, and it is due again where İYS never gets the opt-in.

-- What the latest opt-out said, while an opt-in is desired. NULL: not known, or no opt-out.
ALTER TABLE consents
    ADD COLUMN ret_event_id     text,
    ADD COLUMN ret_rank         smallint,
    ADD COLUMN ret_origin       text,
    ADD COLUMN ret_origin_ref   text,
    ADD COLUMN ret_source       text,
    ADD COLUMN ret_consent_date timestamptz,
    ADD COLUMN ret_registrable  boolean,
    ADD COLUMN ret_withdrawn_at timestamptz,
    ADD COLUMN void_event_id    text;
COMMENT ON COLUMN consents.ret_event_id IS 'Under an opt-in: the event of the latest opt-out, as the columns behind it.';
COMMENT ON COLUMN consents.ret_withdrawn_at IS 'When a person decided that this opt-out is not registered at İYS.';
COMMENT ON COLUMN consents.void_event_id IS
    'The newest event, an opt-in that İYS never gets: the opt-out before it is desired in its place.';

-- A rebuild computes the same from the history, but for what became of the events at İYS.
ALTER TABLE shadow_consents
    ADD COLUMN ret_event_id     text,
    ADD COLUMN ret_rank         smallint,
    ADD COLUMN ret_origin       text,
    ADD COLUMN ret_origin_ref   text,
    ADD COLUMN ret_source       text,
    ADD COLUMN ret_consent_date timestamptz,
    ADD COLUMN ret_registrable  boolean;

-- The database refuses every transition that the lifecycle does not have. An expired obligation comes back only where it
-- expired for its term alone, and the term now ends later than it did (NULL: never).
CREATE OR REPLACE TRIGGER consents_lawful BEFORE UPDATE ON consents FOR EACH ROW
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
