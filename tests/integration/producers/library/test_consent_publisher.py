"""The library on a real broker: acknowledged, in threads and loops, over forks, without extras."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from izin.kafka.clients import access_of
from izin.kafka.follower import follower
from izin.producers import (
    ConsentPublisher,
    EventRefusedError,
    IzinError,
    KafkaAccess,
    NewEvent,
    OversizeError,
    Published,
    SettingError,
)
from izin.producers.publishing.publisher import KafkaRecord
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import CONTENT_TYPE
from tests.integration.producers.conftest import publish_brand_and_key
from tests.integration.producers.library import forking
from tests.support.builders import CUSTOMER, PHONE, a_key
from tests.support.waiting import until
from tests.unit.producers.test_publishers import a_new_event

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[4]
Written = Callable[[], Sequence[KafkaRecord]]


@pytest.fixture
def access(settings: KafkaSettings) -> KafkaAccess:
    publish_brand_and_key(settings)
    return access_of(settings)


@pytest.fixture
def shop(access: KafkaAccess) -> Iterator[ConsentPublisher]:
    with ConsentPublisher("shop", access) as one:
        yield one


def an_opt_out(number: int) -> NewEvent:
    return a_new_event(status="RET", origin_ref="r", version=number)


def ids_of(written: Written) -> Counter[str]:
    return Counter(Codec().decode("ConsentEvent", one.value)["event_id"] for one in written())


def test_publication_is_acknowledged_where_it_says(shop: ConsentPublisher, written: Written):
    """With the brand's customer, the canonical key, the lane of its status and all headers."""
    opt_in = shop.publish(a_new_event())
    opt_out = shop.publish(a_new_event(status="RET", source=None))
    first, second = written()
    assert (opt_in.topic, opt_out.topic) == (first.topic, second.topic)
    assert first.topic.endswith("consent-events")
    assert second.topic.endswith("consent-events-express")
    assert opt_in.partition == opt_out.partition == partition_of(a_key().encode(), 3)
    assert (opt_in.offset, opt_out.offset) == (0, 0)
    assert opt_in.violations == ()
    assert [one.code for one in opt_out.violations] == ["H113"]
    for one, published in ((first, opt_in), (second, opt_out)):
        event = Codec().decode_event(one.value)
        assert (event.customer_id, event.recipient, event.origin) == (CUSTOMER, PHONE, "shop")
        assert event.event_id == published.event_id
        assert one.key == a_key().encode()
        headers = dict(one.headers)
        assert headers["ce_id"] == published.event_id.encode()
        assert headers[CONTENT_TYPE[0]] == b"application/avro"


def test_refused_event_is_not_written(shop: ConsentPublisher, written: Written):
    """It names every violation, and quotes nothing of the recipient."""
    with pytest.raises(EventRefusedError, match=r"recipient: .*H121.*source: .*H119") as caught:
        shop.publish(a_new_event(recipient="12", source="NOWHERE"))
    assert [one.code for one in caught.value.violations] == ["H121", "H119"]
    with pytest.raises(OversizeError):
        shop.publish(a_new_event(retailer_access=[10_000_001] * 300_000, status="RET"))
    assert written() == []


def test_threads_and_an_event_loop_share_a_publisher(shop: ConsentPublisher, written: Written):
    """Many events outstanding, each acknowledged once."""
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda one: shop.publish(an_opt_out(one)), range(80)))

    async def publish_all() -> list[Published]:
        return await asyncio.gather(
            *(shop.publish_async(an_opt_out(one)) for one in range(80, 160))
        )

    done += asyncio.run(publish_all())
    assert len({(one.partition, one.offset) for one in done}) == 160
    assert ids_of(written) == Counter(one.event_id for one in done)


async def test_publisher_of_an_event_loop(access: KafkaAccess, written: Written):
    """It opens, publishes and closes without blocking the loop."""
    async with ConsentPublisher("shop", access) as one:
        await one.publish_async(an_opt_out(1))
        with pytest.raises(EventRefusedError):
            await one.publish_async(a_new_event(consent_date=None))
        one.submit(an_opt_out(2))
    assert len(written()) == 2


def test_brand_that_is_registered_later_is_known(settings: KafkaSettings, written: Written):
    """A publisher follows the brands for as long as it lives."""
    with ConsentPublisher("shop", access_of(settings)) as one:
        with pytest.raises(EventRefusedError, match="izin brands add"):
            one.publish(a_new_event())
        publish_brand_and_key(settings)

        def is_known() -> bool:
            try:
                one.publish(a_new_event())
            except EventRefusedError:
                return False
            return True

        until(is_known)
    assert len(written()) == 1


@pytest.mark.parametrize("use", ["used", "unused"])
def test_publisher_made_before_a_fork_works_on_both_sides(
    access: KafkaAccess, written: Written, use: str
):
    """The child makes clients of its own and ends by itself; the parent's go on."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", forking.__file__, use],
        env=environment(access),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        printed |= json.loads(line)
    expected = {"parent", "child", "after"} | ({"before"} if use == "used" else set())
    assert printed.keys() == expected
    found = ids_of(written)
    assert found.keys() >= {one for ids in printed.values() for one in ids}
    assert len(found) == forking.EACH * len(expected) + (use == "used")
    assert set(found.values()) == {1}


def environment(access: KafkaAccess) -> dict[str, str]:
    """Return this process's variables, with those that name the broker and the topics."""
    return os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": access.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": access.topic_prefix,
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({}, BrokerError, r"127\.0\.0\.1:1.*KAFKA_BOOTSTRAP_SERVERS"),
        ({"options": {"no.such.option": "1"}}, SettingError, r"no\.such\.option"),
    ],
)
def test_broker_or_option_at_fault_is_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], error: type[IzinError], what: str
):
    """At the first event, once the time for a request is over."""
    monkeypatch.setattr(follower, "_TIMEOUT", 1.0)
    away = KafkaAccess(bootstrap_servers="127.0.0.1:1", **given)
    with ConsentPublisher("shop", away) as one, pytest.raises(error, match=what):
        one.publish(a_new_event())


def test_missing_topic_names_the_remedy(kafka: str, topic_prefix: str):
    """Nothing is created behind the operator's back."""
    access = KafkaAccess(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    what = r"brands does not exist.*izin doctor --fix"
    with ConsentPublisher("shop", access) as one, pytest.raises(BrokerError, match=what):
        one.publish(a_new_event())
