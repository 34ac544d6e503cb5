"""No permission after an opt-out that is newer than its consent, from a real broker."""

from datetime import timedelta

import pytest

from izin.runtime.kafka_environment import KafkaAccess
from izin.subscribers import (
    Change,
    ChangeKind,
    PermissionChanged,
    UnreadableRecord,
)
from izin.subscribers.subscription import OptOutGuard
from tests.integration.subscribers.test_subscribe import OPT_OUTS, take
from tests.support.builders import NOON
from tests.support.subscribers.published import TopicWriter, key_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]

BOTH = (ChangeKind.OPT_OUTS, ChangeKind.PERMISSIONS)
PERMISSIONS = (ChangeKind.PERMISSIONS,)
LATER = NOON + timedelta(minutes=1)


def answers(changes: list[Change]) -> list[tuple[str, bool, str]]:
    """Return key, answer and reason of each permission."""
    return [
        (str(one.key), one.may_send, str(one.reason))
        for one in changes
        if isinstance(one, PermissionChanged)
    ]


async def test_permission_behind_a_newer_opt_out_denies(access: KafkaAccess, writer: TopicWriter):
    """The ledger published it before it knew; one by a newer consent, or without an opt-out, stays.

    The same second is not newer.
    """
    closed, same, opened, other = (key_of(one) for one in range(4))
    writer.permit(closed, at=NOON)
    writer.permit(same, opened, at=LATER)
    writer.permit(other, at=NOON)
    writer.opt_out(closed, same, at=LATER)
    writer.opt_out(opened, at=NOON)
    found = answers(await take(access, 7, BOTH))
    assert sorted(found) == [
        (str(closed), False, "opted-out"),
        (str(same), False, "opted-out"),
        (str(opened), True, "registered"),
        (str(other), True, "registered"),
    ]


async def test_confirmed_opt_out_still_denies(access: KafkaAccess, writer: TopicWriter):
    """It is not delivered again after the restart, and the late permission denies all the same;
    so it does for who asks for permissions alone.
    """
    key = key_of(1)
    writer.opt_out(key, at=LATER)
    await take(access, 1, OPT_OUTS)
    writer.permit(key, at=NOON)
    denied = [(str(key), False, "opted-out")]
    assert answers(await take(access, 1, BOTH)) == denied
    assert answers(await take(access, 1, PERMISSIONS, subscriber="crm")) == denied


@pytest.mark.parametrize("kinds", [BOTH, PERMISSIONS])
async def test_permission_waits_until_opt_outs_are_known(
    access: KafkaAccess,
    writer: TopicWriter,
    monkeypatch: pytest.MonkeyPatch,
    kinds: tuple[ChangeKind, ...],
):
    """It is looked at again and again, and comes as soon as they are."""
    looks = iter([False] * 5)
    monkeypatch.setattr(OptOutGuard, "_is_fresh", lambda _: next(looks, True))
    writer.permit(key_of(1))
    found = answers(await take(access, 1, kinds))
    assert found == [(str(key_of(1)), True, "registered")]
    assert next(looks, None) is None


async def test_unreadable_opt_out_denies(access: KafkaAccess, writer: TopicWriter):
    """An opt-out may be in it: only a consent after now opens the key."""
    key = key_of(1)
    writer.raw(writer.topics.opt_outs, key.encode(), b"{}")
    writer.permit(key, at=LATER)
    found = await take(access, 2, BOTH)
    assert isinstance(found[0], UnreadableRecord)
    assert answers(found) == [(str(key), False, "opted-out")]
