-- What a page of İYS's movements makes of a key is one update, however many of them concern it: a settled opt-out that
-- İYS's consent makes due again, and that the opt-out behind it settles. So whatever rulings may do one after the other
-- they may do at once, but to what is in flight.
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
                'accepted expired', 'accepted not_needed', 'accepted parked', 'accepted pending',
                'refused expired', 'refused not_needed', 'refused parked', 'refused pending',
                'retryable expired', 'retryable in_flight', 'retryable not_needed', 'retryable parked',
                'retryable pending',
                'parked expired', 'parked not_needed', 'parked pending',
                'expired not_needed', 'expired parked', 'expired pending',
                'not_needed expired', 'not_needed parked', 'not_needed pending')
        END
        -- Generated from izin.consent.transitions: end
        OR OLD.state = 'expired' AND NEW.state = 'pending' AND OLD.desired_event_id = NEW.desired_event_id
            AND OLD.desired_status = NEW.desired_status
            AND (OLD.reason IS DISTINCT FROM 'term-ended' OR NEW.expires_at <= OLD.expires_at)
    )
    EXECUTE FUNCTION refuse_transition();
