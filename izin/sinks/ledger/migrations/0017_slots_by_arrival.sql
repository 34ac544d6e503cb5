-- A slot comes a span of time after whichever of an address's last ten uses arrived first, not after the tenth one
-- before it: on their way requests overtake one another. So each use is kept with the number of its slot. All calls of
-- the last version are taken as on their way still, for as long as that can be.
CREATE TYPE slot_use AS (slot bigint, there_at double precision);

ALTER TABLE budgets
    ADD COLUMN uses slot_use[] NOT NULL DEFAULT array_fill(
        ROW(0, extract(epoch FROM clock_timestamp()) + 1)::slot_use, ARRAY[10])
        CHECK (array_length(uses, 1) = 10),
    DROP COLUMN there_at;
ALTER TABLE budgets ALTER COLUMN uses SET DEFAULT array_fill(ROW(0, '-infinity')::slot_use, ARRAY[10]);

DROP FUNCTION take_slot;

-- Take an address's next slot: its number, when it comes, and when that was told; no row: the address is not known.
-- The arithmetic is that of izin.iys.rate_limit.pace. All instants are seconds of the database's clock since 1970, "there" tells
-- by when the uses of the slots in "used" had arrived; span, within and spacing are seconds.
CREATE FUNCTION take_slot(
    address text, spacing double precision, span double precision, within double precision,
    fastest double precision, creep double precision, used bigint[], there double precision[]
) RETURNS TABLE (slot bigint, comes_at double precision, read_at double precision) LANGUAGE plpgsql AS $$
DECLARE
    a budgets;
    was_free_at double precision;
    first integer := 1;
BEGIN
    SELECT * INTO a FROM budgets AS b WHERE b.egress_address = address FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR n IN 1 .. cardinality(used) LOOP
        FOR place IN 1 .. 10 LOOP
            IF a.uses[place].slot = used[n] THEN
                a.uses[place].there_at := there[n];
            END IF;
        END LOOP;
    END LOOP;
    FOR place IN 2 .. 10 LOOP
        IF a.uses[place].there_at < a.uses[first].there_at THEN
            first := place;
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
