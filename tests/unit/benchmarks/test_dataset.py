"""The dataset of the order comparison, and the contenders' common rule."""

from collections import Counter

from benchmarks.order.contenders.latest_wins import newer, step
from benchmarks.order.dataset import MARKERS_EACH, Dataset, DatasetShape, ExpectedOutput
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.partitioning import partition_of

CODEC = Codec()
SHAPE = DatasetShape(events=4000, recipients=500)


def folded(shape: DatasetShape) -> tuple[ExpectedOutput, dict[bytes, bytes], Counter[int]]:
    """Fold a dataset by the common rule; return what was expected, the state and the rows."""
    dataset = Dataset(shape, CODEC)
    state: dict[bytes, bytes] = {}
    rows: Counter[int] = Counter()
    for record in dataset.records():
        row = step(CODEC, record.value, state.get(record.key))
        if row is not None:
            state[record.key] = row
            rows[record.partition] += 1
    return dataset.expected, state, rows


def test_the_dataset_expects_what_the_common_rule_makes_of_it():
    """A contender that wrote less than the rule demands would be fast for nothing."""
    expected, state, rows = folded(SHAPE)
    assert rows == expected.rows
    assert expected.records.total() == SHAPE.events
    assert set().union(*expected.last.values()) <= state.keys()


def test_the_dataset_is_the_same_for_a_seed_and_has_its_shares():
    """A fifth repeats byte for byte, a few are cut short, some recipients have many events."""
    records = list(Dataset(SHAPE, CODEC).records())
    assert records == list(Dataset(SHAPE, CODEC).records())
    assert 0.15 < 1 - len({one.value for one in records}) / len(records) < 0.25
    undecodable = 0
    for one in records:
        try:
            CODEC.decode("ConsentEvent", one.value)
        except UndecodableError:
            undecodable += 1
    assert 0 < undecodable < 20
    (most, _), *_ = Counter(one.key for one in records).most_common(1)
    assert sum(one.key == most for one in records) > SHAPE.events / 20


def test_the_last_records_of_each_partition_are_the_first_of_their_keys():
    """A contender that has written their rows has processed the whole partition."""
    dataset = Dataset(SHAPE, CODEC)
    records = list(dataset.records())
    markers = SHAPE.partitions * MARKERS_EACH
    last: dict[int, set[bytes]] = {number: set() for number in range(SHAPE.partitions)}
    for one in records[-markers:]:
        last[one.partition].add(one.key)
    assert last == dataset.expected.last
    assert {len(keys) for keys in last.values()} == {MARKERS_EACH}
    earlier = {one.key for one in records[:-markers]}
    assert not earlier & set().union(*last.values())
    assert all(one.partition == partition_of(one.key, SHAPE.partitions) for one in records)


def test_ret_wins_a_tie_and_a_late_or_repeated_event_changes_nothing():
    """The contenders keep the law's order, or the comparison would not be of the same work."""
    dataset = Dataset(DatasetShape(events=50, recipients=1), CODEC)
    event = CODEC.decode("ConsentEvent", next(dataset.records()).value)
    onay, ret = event | {"status": "ONAY"}, event | {"status": "RET"}
    current = newer(onay, None)
    assert current is not None
    assert newer(onay, current) is None
    turned = newer(ret, current)
    assert turned is not None
    assert (turned["status"], turned["previous_status"]) == ("RET", "ONAY")
    assert turned["latest_onay_at"] == turned["latest_ret_at"] == current["effective_at"]
    assert newer(onay, turned) is None
    late = ret["consent_date"].replace(year=2024)
    assert newer(ret | {"consent_date": late}, current) is None
    assert newer(onay | {"consent_date": late, "status": "ONAY"}, None) is not None


def test_an_undecodable_record_is_dropped():
    """One bad record stops no contender."""
    assert step(CODEC, b"nonsense", None) is None
    assert step(CODEC, None, None) is None
