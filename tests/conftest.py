"""Real servers for the whole suite, and a topic prefix and database per test.

The processes of a run (``pytest -n``) share a broker; each has a PostgreSQL of its own.

KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL in the environment name servers to use instead.
"""

import asyncio
import gc
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck, settings
from structlog.testing import capture_logs
from structlog.typing import EventDict
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from izin.kafka.clients import ensure_topics
from izin.ledger.db.migrate import migrate
from izin.local import ApicurioRegistry, Kafka, LocalError, create_database
from izin.runtime import unreadable
from izin.runtime.settings import KafkaSettings
from tests.support.secure import Authority, SecureKafka
from tests.support.servers.distribution import (
    ForgetfulPostgres,
    ServerScheduling,
    SharedBroker,
    copy_database,
    drop_database,
    memory_folder,
    require_listed,
    shared_broker,
)

# Examples have no deadline. Runs by hand and mutants try new examples each time; `make test`, which
# decides over a change, tries the same ones for the same code, and fewer.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new", parent=_UNTIMED)
settings.register_profile("same", parent=_UNTIMED, derandomize=True, max_examples=40)
settings.load_profile("new")

_OWN_FOLDER = pytest.StashKey[Path]()
_BROKER = pytest.StashKey[SharedBroker]()
_BLOCKED_SIGNALS = pytest.StashKey[set[int]]()
_FOLDERS = "izin-tests-"
_SERVERS = ("broker", "database", "e2e")
_KEPT_SECONDS = 24 * 60 * 60


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Create a folder of this run for files of tests.

    Pytest makes its common folder private to the user at each run, and under root PostgreSQL runs
    as another user.
    """
    if config.option.basetemp is None:
        for old in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
            with suppress(FileNotFoundError):  # another run removes them too
                if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
        config.option.basetemp = tempfile.mkdtemp(prefix=_FOLDERS)
        config.stash[_OWN_FOLDER] = Path(config.option.basetemp)
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.stash[_BROKER] = SharedBroker()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the broker of all processes."""
    broker = config.stash.get(_BROKER, None)
    if broker is not None:
        broker.stop()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Let a process know where to ask for the broker of all."""
    node.workerinput["broker"] = node.config.stash[_BROKER].address


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ServerScheduling:
    """Have tests that share a server run in one process."""
    return ServerScheduling(config, log)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the folder of a failed run for a day, so that the cause can be found."""
    folder = session.config.stash.get(_OWN_FOLDER, None)
    if folder is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Record which signals are blocked."""
    item.stash[_BLOCKED_SIGNALS] = signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail the test that leaves signals blocked: processes of later tests would inherit that, and
    get no SIGTERM.
    """
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, item.stash[_BLOCKED_SIGNALS])
    assert blocked == item.stash[_BLOCKED_SIGNALS], f"signals are left blocked: {blocked}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a test that would start one more of a server that others have."""
    require_listed(item.nodeid.partition("::")[0], getattr(item, "fixturenames", ()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes longest first, so that no process is idle at the end: what has the longest
    limits, then what needs servers, the largest files first.
    """
    sizes = Counter(item.path for item in items)

    def duration(item: pytest.Item) -> tuple[float, bool, int]:
        needs_servers = any(item.get_closest_marker(name) for name in _SERVERS)
        return _time_limit(item), needs_servers, sizes[item.path]

    items.sort(key=duration, reverse=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from what is collected: it lives until the end, and is most of
    what would be looked through again and again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def _time_limit(item: pytest.Item) -> float:
    limit = item.get_closest_marker("timeout")
    return limit.args[0] if limit else 0


@pytest.fixture(scope="session")
def state_dir() -> Iterator[Path]:
    """Return the folder where this run's servers keep their data."""
    # Not pytest's own: that is private to the user, and PostgreSQL may run as another.
    with tempfile.TemporaryDirectory(
        prefix="izin-", dir=memory_folder(), ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def kafka(state_dir: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the bootstrap servers of a real Kafka."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    shared = getattr(request.config, "workerinput", {}).get("broker")
    if shared:
        yield shared_broker(shared)
        return
    with Kafka(state_dir) as server:
        yield server.bootstrap_servers


@pytest.fixture(scope="session")
def unprefixed_kafka(state_dir: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the bootstrap servers of a real Kafka whose topics need no prefix: no other test that
    runs at the same time has such topics. Who makes topics deletes them.
    """
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield request.getfixturevalue("kafka")
        return
    with Kafka(state_dir / "unprefixed") as server:
        yield server.bootstrap_servers


@pytest.fixture(scope="session")
def registry(state_dir: Path) -> Iterator[ApicurioRegistry]:
    """Yield a real schema registry; skip where this machine cannot run one."""
    server = ApicurioRegistry(state_dir)
    try:
        server.start()
    except LocalError as error:
        pytest.skip(f"no schema registry on this machine: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def authority(state_dir: Path) -> Authority:
    """Return an authority, whose certificates the tests' servers have."""
    return Authority(state_dir / "certificates")


@pytest.fixture(scope="session")
def secure_kafka(state_dir: Path, authority: Authority) -> Iterator[SecureKafka]:
    """Yield a real Kafka of this run's own to which nobody speaks without TLS."""
    with SecureKafka(state_dir / "secure", authority) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(state_dir: Path) -> Iterator[str]:
    """Yield the URL of a real PostgreSQL server, whose role may create databases."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with ForgetfulPostgres(state_dir) as server:
        yield server.url


@pytest.fixture
def topic_prefix(kafka: str) -> Iterator[str]:
    """Yield a prefix that no other test uses; topics under it are deleted afterwards."""
    prefix = f"t{uuid4().hex[:8]}-"
    yield prefix
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    ours = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    if ours:
        for deleted in admin.delete_topics(ours).values():
            deleted.result(timeout=10)


@pytest.fixture
def make_settings(kafka: str, topic_prefix: str) -> Callable[[int], KafkaSettings]:
    """Return a function that makes settings whose topics exist, with so many partitions."""

    def make(partitions: int) -> KafkaSettings:
        made = KafkaSettings(
            bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=partitions
        )
        ensure_topics(made)
        return made

    return make


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """Undo what a test has configured: a command run in this process logs to standard error only
    where nobody has.
    """
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_unreadable_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what batches an earlier test of this process met: a process shows them for a while."""
    monkeypatch.setattr(unreadable, "_met", {})


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """Yield the log events of the test."""
    with capture_logs() as logs:
        yield logs


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """Yield the URL of an empty database, dropped afterwards."""
    name = f"t{uuid4().hex[:12]}"
    yield copy_database(postgres, name)
    drop_database(postgres, name)


@pytest.fixture
def database_url(empty_database: str) -> str:
    """Return the URL of the test's database: an empty one, unless its folder has another."""
    return empty_database


@pytest.fixture(scope="session")
def ledger_template(postgres: str) -> Iterator[str]:
    """Yield the name of a database that is a migrated, empty ledger, to be copied."""
    name = f"t{uuid4().hex[:12]}"
    asyncio.run(migrate(create_database(postgres, name)))
    yield name
    drop_database(postgres, name)


@pytest.fixture
def ledger_url(postgres: str, ledger_template: str) -> Iterator[str]:
    """Yield the URL of a migrated, empty ledger, dropped afterwards."""
    name = f"t{uuid4().hex[:12]}"
    yield copy_database(postgres, name, ledger_template)
    drop_database(postgres, name)
