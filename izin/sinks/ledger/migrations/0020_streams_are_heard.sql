-- Until when a stream of İYS's was read to its end, and since when it is to be read: a stream that is refused is asked
-- (pulled_at), but not heard.
ALTER TABLE cursors ADD COLUMN heard_at timestamptz, ADD COLUMN since timestamptz NOT NULL DEFAULT now();
UPDATE cursors SET heard_at = pulled_at;
