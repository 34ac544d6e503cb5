"""Real servers for the whole suite: one of each a run, a fresh prefix and database a test.

KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL in the environment name servers to use instead.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck, settings

from izin.local import Kafka, Postgres, create_database, drop_database

# Nothing is timed in a test, an example neither. What anybody runs tries new examples each time;
# what decides over a change (make test) tries the same ones for the same code.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new", parent=_UNTIMED)
settings.register_profile("same", parent=_UNTIMED, derandomize=True)
settings.load_profile("new")

_OWN_FOLDER = pytest.StashKey[Path]()
_UNHEARD = pytest.StashKey[set[int]]()
_FOLDERS = "izin-tests-"
_KEPT_SECONDS = 24 * 60 * 60


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give this run a folder of its own for what tests write.

    In pytest's common one whoever starts a run shuts all runs to others, and PostgreSQL under root
    runs as one of those.
    """
    if config.option.basetemp is None:
        for old in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
            with suppress(FileNotFoundError):  # another run tidies too
                if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
        config.option.basetemp = tempfile.mkdtemp(prefix=_FOLDERS)
        config.stash[_OWN_FOLDER] = Path(config.option.basetemp)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the folder of a run that failed for a day, for whoever looks why."""
    folder = session.config.stash.get(_OWN_FOLDER, None)
    if folder is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which signals this process hears."""
    item.stash[_UNHEARD] = signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Find the test that leaves signals blocked: what later tests start would inherit it, and hear
    no SIGTERM.
    """
    unheard = signal.pthread_sigmask(signal.SIG_SETMASK, item.stash[_UNHEARD])
    assert unheard == item.stash[_UNHEARD], f"signals are left blocked: {unheard}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest: of two processes neither is idle at the end."""
    items.sort(key=_may_take, reverse=True)


def _may_take(item: pytest.Item) -> float:
    limit = item.get_closest_marker("timeout")
    return limit.args[0] if limit else 0


@pytest.fixture(scope="session")
def state_dir() -> Iterator[Path]:
    """Give the folder where this run's servers keep their data."""
    # Not pytest's own: it shuts others out, and PostgreSQL may run as another user.
    with tempfile.TemporaryDirectory(prefix="izin-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def kafka(state_dir: Path) -> Iterator[str]:
    """Give the bootstrap servers of a real Kafka."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    with Kafka(state_dir) as server:
        yield server.bootstrap_servers


@pytest.fixture(scope="session")
def postgres(state_dir: Path) -> Iterator[str]:
    """Give the URL of a real PostgreSQL server, whose role may create databases."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with Postgres(state_dir) as server:
        yield server.url


@pytest.fixture
def topic_prefix(kafka: str) -> Iterator[str]:
    """Give a prefix no other test uses; topics under it are deleted afterwards."""
    prefix = f"t{uuid4().hex[:8]}-"
    yield prefix
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    ours = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    if ours:
        for deleted in admin.delete_topics(ours).values():
            deleted.result(timeout=10)


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """Give the URL of an empty database, dropped afterwards."""
    name = f"t{uuid4().hex[:12]}"
    yield create_database(postgres, name)
    drop_database(postgres, name)
