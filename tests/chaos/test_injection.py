"""Which faults come in which order, and what is done between them."""

from random import Random

from tests.chaos.pipeline import Injection


async def test_each_kind_comes_before_any_comes_again() -> None:
    """Then by weight; there is time for what is done meanwhile."""
    injection = Injection(weights={"kill": 5, "freeze": 1}, pause=(2, 3), random=Random(1))
    hits: list[str] = []
    pauses: list[float] = []

    async def hit(fault: str) -> str:
        hits.append(fault)
        return "one"

    async def meanwhile(seconds: float) -> None:
        pauses.append(seconds)

    await injection.run(40, hit, meanwhile=meanwhile)
    assert hits[:2] == ["kill", "freeze"]
    assert injection.injected == {"kill": hits.count("kill"), "freeze": hits.count("freeze")}
    assert injection.injected["kill"] > injection.injected["freeze"] > 0
    assert len(pauses) == len(hits) == 40
    assert all(2 <= one <= 3 for one in pauses)
