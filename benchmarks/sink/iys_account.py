"""The account of the benchmarks at the İYS simulator, and its brands."""

from collections.abc import Callable

from benchmarks.sink.fixture import BRANDS

USERNAME, PASSWORD = "ada@example.com", "fake"


def register(post: Callable[..., None]) -> None:
    """Register the account and its brands at the simulator, by ``post`` to its admin API."""
    post("accounts", username=USERNAME, password=PASSWORD, iysCode=BRANDS[0])
    for code in BRANDS:
        post(
            "brands",
            brandCode=code,
            iysCode=BRANDS[0],
            name="Örnek",
            activatedAt="2020-01-01 00:00:00",
        )
