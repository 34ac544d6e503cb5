"""Whatever İYS shows, it costs no movement beside it, and no process."""

import pytest

from izin.iys.client import IysClient
from izin.iys.wire_format.consents import BrandPath, MovementPage, Stream
from izin.iys.wire_format.json_reader import JsonReader, parse_json
from tests.integration.sinks.sink_harness import SinkHarness, a_phone
from tests.support.hostile.movements import HostileMovements, a_movement

pytestmark = pytest.mark.database

PAGES, OF = 50, 100


@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_movements_cost_no_neighbour_of_a_pull(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Each page has one opt-out amid ninety-nine items that may be anything."""
    hostile, bodies, opted_out = HostileMovements(seed), [], []
    for number in range(PAGES):
        items = [hostile.movement(a_phone(50_000 + number * OF + place)) for place in range(OF - 1)]
        opted_out.append(a_phone(number))
        items.insert(hostile.random.randrange(OF), a_movement(opted_out[-1]))
        bodies.append(hostile.page(items, str(min(number + 1, PAGES - 1))))

    async def changes(
        _client: IysClient, _brand: BrandPath, _stream: Stream, after: str | None
    ) -> MovementPage:
        return MovementPage.read(JsonReader(parse_json(bodies[int(after or 0)])))

    monkeypatch.setattr(IysClient, "changes", changes)
    published = await harness.pull(Stream.IYS)
    assert {event.recipient for event in published} >= set(opted_out)
    rows = await harness.ledger.fetch("SELECT recipient, registered FROM consents")
    registered = {row["recipient"]: row["registered"] for row in rows}
    assert {registered.get(one) for one in opted_out} == {"RET"}
