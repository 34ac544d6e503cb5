-- An obligation begins with a statement that is not the one before: by its event's id, which is the sender's, or by its
-- status, for a sender may give a "no" the id of the yes before it. The table of transitions is that of 0001.
DROP TRIGGER consents_lawful ON consents;
CREATE TRIGGER consents_lawful BEFORE UPDATE ON consents FOR EACH ROW
    WHEN (
        CASE
            WHEN OLD.desired_event_id IS DISTINCT FROM NEW.desired_event_id
                    OR OLD.desired_status IS DISTINCT FROM NEW.desired_status
                THEN NEW.state NOT IN ('pending', 'not_needed', 'parked', 'expired')
            ELSE OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
                'pending in_flight', 'pending not_needed', 'pending parked', 'pending expired',
                'pending superseded',
                'in_flight awaiting_result', 'in_flight accepted', 'in_flight refused',
                'in_flight retryable', 'in_flight unknown', 'in_flight not_needed', 'in_flight parked',
                'in_flight expired', 'in_flight superseded',
                'awaiting_result accepted', 'awaiting_result refused', 'awaiting_result retryable',
                'awaiting_result unknown', 'awaiting_result not_needed', 'awaiting_result parked',
                'awaiting_result expired', 'awaiting_result superseded',
                'unknown accepted', 'unknown refused', 'unknown retryable', 'unknown not_needed',
                'unknown parked', 'unknown expired', 'unknown superseded',
                'retryable in_flight', 'retryable not_needed', 'retryable parked', 'retryable expired',
                'retryable superseded',
                'parked pending', 'parked not_needed', 'parked expired', 'parked superseded',
                'refused pending', 'refused parked', 'refused not_needed', 'refused superseded',
                'accepted pending', 'accepted parked', 'accepted expired', 'accepted superseded',
                'not_needed pending', 'not_needed parked', 'not_needed expired', 'not_needed superseded',
                'expired not_needed', 'expired superseded',
                'superseded pending')
        END
    )
    EXECUTE FUNCTION refuse_transition();
