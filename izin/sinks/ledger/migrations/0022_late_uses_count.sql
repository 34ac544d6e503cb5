-- A use that arrives later than was sure, after its place was given to another, is one of the last ten all the same: it
-- takes the place of whichever arrived first.

-- Take an address's next slot: its number, when it comes, and when that was told; no row: the address is not known.
-- The arithmetic is that of izin.iys.rate_limit.pace. All instants are seconds of the database's clock since 1970, "there" tells
-- by when the uses of the slots in "used" had arrived; span, within and spacing are seconds.
CREATE OR REPLACE FUNCTION take_slot(
    address text, spacing double precision, span double precision, within double precision,
    fastest double precision, creep double precision, used bigint[], there double precision[]
) RETURNS TABLE (slot bigint, comes_at double precision, read_at double precision) LANGUAGE plpgsql AS $$
DECLARE
    a budgets;
    was_free_at double precision;
    first integer;
    told integer;
BEGIN
    SELECT * INTO a FROM budgets AS b WHERE b.egress_address = address FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The last round tells of no use: it finds whichever arrived first.
    FOR n IN 1 .. cardinality(used) + 1 LOOP
        first := 1;
        told := NULL;
        FOR place IN 1 .. 10 LOOP
            IF a.uses[place].slot = used[n] THEN
                told := place;
            END IF;
            IF a.uses[place].there_at < a.uses[first].there_at THEN
                first := place;
            END IF;
        END LOOP;
        IF told IS NOT NULL THEN
            a.uses[told].there_at := there[n];
        ELSIF there[n] > a.uses[first].there_at THEN
            a.uses[first] := ROW(used[n], there[n])::slot_use;
        END IF;
    END LOOP;
    slot := a.slot + 1;
    was_free_at := extract(epoch FROM a.free_at);
    read_at := extract(epoch FROM clock_timestamp());
    comes_at := greatest(was_free_at, read_at, a.uses[first].there_at + span);
    a.uses[first] := ROW(slot, comes_at + within)::slot_use;
    UPDATE budgets AS b SET
        slot = take_slot.slot,
        uses = a.uses,
        free_at = to_timestamp(greatest(was_free_at + spacing / least(a.factor, fastest), comes_at)),
        factor = least(1, a.factor + creep)
    WHERE b.egress_address = address;
    RETURN NEXT;
END;
$$;
