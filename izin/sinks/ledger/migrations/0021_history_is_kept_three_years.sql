-- Records are kept for three years at least (Yönetmelik m.13), whoever asks: the month that is written now goes never,
-- and none before three years after its end. What was to go sooner is kept as long as that; a month that went too soon
-- and is written again, too.
UPDATE movement_months SET retain_until = month + interval '3 years 1 month'
WHERE retain_until < month + interval '3 years 1 month';
ALTER TABLE movement_months ADD CONSTRAINT movement_months_three_years
    CHECK (retain_until >= month + interval '3 years 1 month');

CREATE OR REPLACE FUNCTION drop_month(first date, now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM movement_months WHERE month < first AND dropped_at IS NULL) THEN
        RAISE EXCEPTION 'an earlier month is kept'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'movements_append_only';
    END IF;
    IF now < (first + interval '1 month') AT TIME ZONE 'UTC' THEN
        RAISE EXCEPTION 'the month is not over'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'movements_append_only';
    END IF;
    EXECUTE format('DROP TABLE %I', 'movements_' || to_char(first, 'YYYY_MM'));
    UPDATE movement_months SET dropped_at = now WHERE month = first;
END $$;
