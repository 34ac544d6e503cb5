-- İYS counts when requests arrive, not when they leave. So the last ten slots of an address are kept with the instant by
-- which their uses had surely arrived: the eleventh comes a span of time after the first of them.
ALTER TABLE budgets
    ADD COLUMN slot bigint NOT NULL DEFAULT 0,
    ADD COLUMN there_at timestamptz[] NOT NULL DEFAULT array_fill('-infinity'::timestamptz, ARRAY[10])
        CHECK (array_length(there_at, 1) = 10);

-- Take an address's next slot: its number, and seconds until it comes, by the database's clock; no row: the address is
-- not known. The arithmetic is that of izin.iys.rate_limit.pace; span, within and spacing are seconds.
CREATE FUNCTION take_slot(
    address text, spacing double precision, span double precision, within double precision,
    fastest double precision, creep double precision, used bigint[], ages double precision[]
) RETURNS TABLE (slot bigint, ahead double precision) LANGUAGE plpgsql AS $$
DECLARE
    a budgets;
    comes timestamptz;
    place integer;
BEGIN
    SELECT * INTO a FROM budgets AS b WHERE b.egress_address = address FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR n IN 1 .. cardinality(used) LOOP
        place := used[n] % 10 + 1;
        IF used[n] > a.slot - 10 THEN
            a.there_at[place] := least(a.there_at[place], coalesce(
                clock_timestamp() - ages[n] * interval '1 second', '-infinity'));
        END IF;
    END LOOP;
    slot := a.slot + 1;
    place := slot % 10 + 1;
    comes := greatest(a.free_at, clock_timestamp(), a.there_at[place] + span * interval '1 second');
    a.there_at[place] := comes + within * interval '1 second';
    UPDATE budgets AS b SET
        slot = take_slot.slot,
        there_at = a.there_at,
        free_at = comes + spacing / least(a.factor, fastest) * interval '1 second',
        factor = least(1, a.factor + creep)
    WHERE b.egress_address = address;
    ahead := extract(epoch FROM comes - clock_timestamp());
    RETURN NEXT;
END;
$$;
