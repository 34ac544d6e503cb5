"""Which endpoints run: what they answer over HTTP.

Living sink workers are in the ledger (``reads.living``). Processes are not looked for: they may be
on other machines.
"""

import httpx

from izin.runtime.settings import FeedsSettings, GateSettings, IntakeSettings

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


def endpoint_url(settings: IntakeSettings | FeedsSettings | GateSettings) -> str:
    """Return where the process of these settings answers whether it is ready."""
    host = "127.0.0.1" if settings.host in _ANY_ADDRESS else settings.host
    return f"http://{host}:{settings.port}"


def endpoint_status(url: str, timeout: float) -> int | None:
    """Return the HTTP status of a process's readiness, None where nothing answers."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=timeout, trust_env=False).status_code
    except httpx.HTTPError:
        return None
