-- When a stream of İYS is read next, and for which channels İYS has our push credentials.

ALTER TABLE stream_cursors
    -- When the stream is due; NULL: at once. The instant of the last attempt: there was more after the page.
    ADD COLUMN next_at  timestamptz,
    -- How often it was begun again from the start of the window. A page that was asked for before is not counted as read.
    ADD COLUMN restarts integer NOT NULL DEFAULT 0;

-- The channels that İYS has these credentials for. registered_at is set once it has them for each channel; until a day
-- after, those before are accepted too, for İYS may still push the others with them.
ALTER TABLE push_registrations ADD COLUMN channels text[] NOT NULL DEFAULT '{}';
UPDATE push_registrations SET channels = '{ARAMA,MESAJ,EPOSTA}' WHERE registered_at IS NOT NULL;
