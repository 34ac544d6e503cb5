"""Which faults come in which order, and what injects them."""

from random import Random

from tests.chaos.injection import Injection


async def test_each_kind_comes_before_any_comes_again():
    """Then by weight; that of a server is injected by what restarts it, and others are hit."""
    restarts: list[str] = []
    injection = Injection(
        weights={"kill": 5, "freeze": 1, "broker": 1},
        servers={"broker": lambda: restarts.append("broker")},
        pause=(0, 0),
        random=Random(1),
    )
    hits: list[str] = []

    async def hit(fault: str) -> str:
        hits.append(fault)
        return "one"

    await injection.run(40, hit)
    assert (hits[:2], len(restarts)) == (["kill", "freeze"], injection.injected["broker"])
    assert injection.injected.total() == 40
    assert injection.injected["kill"] > injection.injected["freeze"] > 0


async def test_fault_of_a_server_of_others_is_left_out():
    """In the suite broker and database are shared; there is time for what is done meanwhile."""
    pauses: list[float] = []

    async def meanwhile(seconds: float) -> None:
        pauses.append(seconds)

    async def hit(fault: str) -> str:
        return fault

    injection = Injection(
        weights={"kill": 1, "broker": 100},
        servers={"broker": None},
        pause=(2, 3),
        random=Random(1),
    )
    await injection.run(5, hit, meanwhile=meanwhile)
    assert injection.injected == {"kill": 5}
    assert len(pauses) == 5
    assert all(2 <= one <= 3 for one in pauses)
