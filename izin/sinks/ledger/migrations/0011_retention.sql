-- Drops a month of history, whose last links are kept and anchored by then. A month of which rows are younger than a
-- kept month's would leave a hole in the chains: months go in order.
CREATE FUNCTION drop_month(first date, now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM movement_months WHERE month < first AND dropped_at IS NULL) THEN
        RAISE EXCEPTION 'an earlier month is kept'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'movements_append_only';
    END IF;
    EXECUTE format('DROP TABLE %I', 'movements_' || to_char(first, 'YYYY_MM'));
    UPDATE movement_months SET dropped_at = now WHERE month = first;
END $$;
