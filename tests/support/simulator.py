"""The İYS simulator in a process of its own, and a client of its admin API."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from izin.local import Child, Command, free_port
from tests.support.builders import BRAND, PHONE

USERNAME, PASSWORD, IYS_CODE = "ada@example.com", "not-a-password", BRAND


class SimulatorAdmin:
    """Configures the simulator at an address, acts as the citizen and injects faults."""

    def __init__(self, address: str, admin: httpx.Client) -> None:
        self.address = address
        self._admin = admin

    def post(self, what: str, **fields: object) -> None:
        """Post to the admin API, and fail unless it succeeds."""
        answer = self._admin.post(f"/{what}", json=fields)
        assert answer.is_success, answer.text

    def configure(self, **settings: object) -> None:
        """Reset the simulator to one account and one brand, under these settings."""
        self.post("reset", everything=True)
        self.post("settings", **settings)
        self.post("accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE)
        self.brand()

    def brand(self, **more: object) -> None:
        """Describe our brand, active since 2020 unless ``more`` says otherwise."""
        fields = {"brandCode": BRAND, "iysCode": IYS_CODE, "name": "Örnek"}
        self.post("brands", **fields | {"activatedAt": "2020-01-01 00:00:00", **more})

    def inject_fault(self, operation: str, **fault: object) -> None:
        """Inject a fault into the next call of an operation."""
        self.post("faults", operation=operation, **fault)

    def clear_faults(self) -> None:
        """Remove every fault rule."""
        self._admin.delete("/faults")

    def faults_left(self) -> dict[str, int | None]:
        """Return how many faults are left of each operation that has any; None: no end."""
        left: dict[str, int | None] = self._admin.get("/faults").json()["faults"]
        return left

    def advance(self, seconds: float) -> None:
        """Advance the clock of the simulator."""
        self.post("clock", advance=seconds)

    def citizen(self, status: str, recipient: str = PHONE, **more: object) -> None:
        """Change a consent as a citizen does at İYS."""
        self.post("citizen", movements=[a_change(status, recipient, **more)])

    def other_writer(self, status: str, recipient: str = PHONE, **more: object) -> None:
        """Change a consent as a person does in İYS's portal."""
        self.post("writers", writer="portal", movements=[a_change(status, recipient, **more)])

    def rows(self, what: str) -> Iterator[dict[str, Any]]:
        """Yield what the simulator holds: its ``register`` or its ``movements``."""
        yield from map(json.loads, self._admin.get(f"/{what}").text.splitlines())

    def register(self) -> dict[str, str]:
        """Return the status of each recipient."""
        return {row["recipient"]: row["status"] for row in self.rows("register")}

    def movements(self, recipient: str = PHONE) -> list[str]:
        """Return the statuses that were saved for a recipient, in order."""
        return [one["status"] for one in self.rows("movements") if one["recipient"] == recipient]

    def timestamp_root(self) -> bytes:
        """Return the root (PEM) of the authority that signs time stamps."""
        return self._admin.get("/timestamp-root").content

    def requests(self) -> dict[str, Any]:
        """Return what the simulator counted of its calls."""
        counted: dict[str, Any] = self._admin.get("/requests").json()
        return counted

    def calls(self, operation: str) -> int:
        """Return how often an operation was called."""
        return int(self.requests()["operations"].get(operation, {}).get("total", 0))


def a_change(status: str, recipient: str, **more: object) -> dict[str, object]:
    """Return a change of a consent to text messages, as the admin API takes it."""
    fields = {"brandCode": BRAND, "type": "MESAJ", "recipient": recipient, "status": str(status)}
    return fields | more


@contextmanager
def running_simulator(folder: Path) -> Iterator[SimulatorAdmin]:
    """Run the simulator in a process of its own, which logs into ``folder``."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    child = Child(
        Command(
            name="simulator",
            argv=(sys.executable, "-m", "iys_simulator", "serve", "--port", str(port)),
            log=folder / "simulator.log",
            ready=f"{address}/__simulator__/health",
        )
    )
    child.start()
    url = f"{address}/__simulator__"
    try:
        child.wait_ready()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as admin:
            yield SimulatorAdmin(address, admin)
    finally:
        child.kill()
