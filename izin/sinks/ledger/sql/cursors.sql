-- name: read
-- Where pulling of a brand's stream stands.
SELECT after, pulled_at FROM cursors WHERE brand_code = %(brand_code)s AND stream = %(stream)s

-- name: begin
-- A stream seen for the first time is pulled from the start of İYS's window.
INSERT INTO cursors (brand_code, stream) VALUES (%(brand_code)s, %(stream)s) ON CONFLICT DO NOTHING

-- name: advance
-- Compare and set; no row: another process pulled the same page.
UPDATE cursors SET after = %(after)s, pulled_at = %(now)s
WHERE brand_code = %(brand_code)s AND stream = %(stream)s AND after IS NOT DISTINCT FROM %(before)s
RETURNING stream

-- name: begin-anew
-- Pull a brand's streams from the start of the window again; what is known changes nothing.
UPDATE cursors SET after = NULL, pulled_at = NULL WHERE brand_code = %(brand_code)s

-- name: all
-- Where every stream stands.
SELECT brand_code, stream, after, pulled_at FROM cursors ORDER BY brand_code, stream
