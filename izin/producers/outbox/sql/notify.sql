-- Wakes the relay at once; without it, it looks once a second (IZIN_OUTBOX_POLL_INTERVAL).
-- Every transaction that notifies takes one lock of the whole server while it commits: leave this out where
-- thousands commit each second.

CREATE OR REPLACE FUNCTION izin_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY izin_outbox;
    RETURN NULL;
END
$$;

-- Once a statement, however many rows it inserts.
CREATE OR REPLACE TRIGGER izin_outbox_notify
    AFTER INSERT ON izin_outbox FOR EACH STATEMENT EXECUTE FUNCTION izin_outbox_notify();
