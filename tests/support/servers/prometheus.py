"""Prometheus of Debian's package, on the path or unpacked into a folder of ours: promtool, and a
server that reads processes by a configuration of ours.
"""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from izin.local.reservations import cache_folder, free_port
from tests.support.waiting import until

_PACKAGE = "prometheus"
_STATE = ("lists/partial", "cache/archives/partial")


class Prometheus(NamedTuple):
    """A server that runs."""

    url: str

    def ask(self, query: str) -> list[Any]:
        """Return the series of a query, as they are now."""
        return list(self._get("query", query=query)["result"])

    def alerts(self) -> set[str]:
        """Return the names of the alerts that fire."""
        found = self._get("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] == "firing"}

    def _get(self, what: str, **query: str) -> Any:  # noqa: ANN401  # JSON
        reply = httpx.get(f"{self.url}/api/v1/{what}", params=query, trust_env=False, timeout=10)
        answer = reply.json()
        assert answer["status"] == "success", (query, answer)
        return answer["data"]


@contextmanager
def prometheus(
    folder: Path,
    targets: Mapping[str, int],
    *,
    rules: Path | None = None,
    scraped_every: str = "1s",
    scraped_within: str = "1s",
) -> Iterator[Prometheus]:
    """Run a server in ``folder`` that reads the ``targets``, ports by their jobs."""
    port = free_port()
    configuration = {
        "global": {
            "scrape_interval": scraped_every,
            "scrape_timeout": scraped_within,
            "evaluation_interval": scraped_every,
        },
        "rule_files": [] if rules is None else [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{number}"]}]}
            for job, number in targets.items()
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration), "utf-8")
    command = [
        tool("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            until(lambda: _is_ready(f"http://127.0.0.1:{port}"), within=60)
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def tool(name: str) -> Path:
    """Return a program of the package, fetched once by apt; without apt the test is skipped."""
    if found := shutil.which(name):
        return Path(found)
    if shutil.which("apt-get") is None:
        pytest.skip(f"no {name}, and no apt to fetch it")
    folder = cache_folder() / "promtool"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "usr" / "bin" / name
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _fetch(folder)
    return path


def _fetch(folder: Path) -> None:
    """Fetch and unpack the package; of apt's lists a copy of ours is made, as anybody may."""
    for name in _STATE:
        (folder / name).mkdir(parents=True, exist_ok=True)
    own = ("-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}")
    for words in ("update", "--quiet"), ("download", _PACKAGE):
        subprocess.run(["apt-get", *own, "--quiet", *words], cwd=folder, check=True, timeout=600)
    (package,) = folder.glob(f"{_PACKAGE}_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, timeout=600)
