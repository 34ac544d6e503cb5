"""Templates of lost rows say what they share, and end with the brand that they were computed by."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from izin.consent.business_days import TURKEY_CALENDAR
from izin.consent.next_action import Action
from izin.replay.ledger.lost_row_templates import LostRowTemplates
from izin.replay.ledger.shadow_rows import lost_row
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import SHADOW
from izin.sinks.record.messages import TopicMessages
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key

BRAND_OF_OURS = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)
CODEC = Codec()
MESSAGES = TopicMessages(CODEC, Topics())
NOW = NOON + timedelta(minutes=5)
TERM = NOON + timedelta(days=3)


def a_shadow(**overrides: Any) -> dict[str, Any]:  # noqa: ANN401  # a column's value each
    """Return what the history makes of an opt-in of ours."""
    fields: dict[str, Any] = {
        **dict.fromkeys(SHADOW),
        "key": str(a_key()),
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "channel": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": PHONE,
        "desired_status": "ONAY",
        "desired_at": NOON,
        "desired_rank": 0,
        "desired_event_id": "event-1",
        "desired_origin": "web",
        "desired_source": "HS_WEB",
        "desired_consent_date": NOON,
        "registrable": True,
        "attested": False,
        "latest_onay_at": NOON,
        "due_at": TERM,
        "expires_at": TERM,
        "parked": None,
    }
    return fields | overrides


def templates(brand: Brand | None = BRAND_OF_OURS) -> LostRowTemplates:
    """Return templates that are computed by ``brand``."""
    made = LostRowTemplates(MESSAGES, now=NOW, calendar=TURKEY_CALENDAR)
    made.follow({BRAND: brand})
    return made


def known(found: LostRowTemplates) -> list[dict[str, Any]]:
    """Return the templates."""
    return list(orjson.loads(str(found.values["templates"])))


def test_template_has_the_row_as_ruled_and_its_record() -> None:
    """The record is whole once the recipient stands between its two parts."""
    found = templates()
    found.learn({"one": a_shadow()})
    (one,) = known(found)
    shared = one["shared"]
    assert (one["name"], shared["state"], shared["action"]) == ("one", "pending", "query")
    assert (shared["registered"], shared["due_at"]) == ("UNKNOWN", None)
    value = bytes.fromhex(one["before"]) + PHONE.encode() + bytes.fromhex(one["behind"])
    said = CODEC.decode("Permission", value)
    assert (said["recipient"], said["reason"]) == (PHONE, "awaiting-iys")
    assert found.values["known"] == ["one"]
    assert found.due_actions == {(Action.QUERY, "ONAY")}


def test_row_of_which_more_follows_has_no_template() -> None:
    """It is known all the same, so that it is not looked at again."""
    found = templates()
    examples = {
        "parked": a_shadow(parked="other-customer"),
        "retailer": a_shadow(retailer_code=66438915),
        "shared": a_shadow(retailer_access=[66438916]),
        "ahead": a_shadow(desired_at=NOW + timedelta(minutes=1)),
        "of another term": a_shadow(
            desired_status="RET", due_at=TERM + timedelta(days=9), expires_at=None
        ),
    }
    found.learn(examples)
    assert known(found) == []
    assert found.values["known"] == list(examples)
    assert lost_row(examples["shared"], {}, NOW).retailer_access == (66438916,)


def test_template_ends_with_the_state_of_its_brand() -> None:
    """A brand that is not registered gives none, and one that has changed another."""
    found = templates(None)
    found.learn({"one": a_shadow()})
    assert (known(found), found.values["known"]) == ([], ["one"])
    found.follow({BRAND: BRAND_OF_OURS})
    assert found.values["known"] == []
    found.learn({"one": a_shadow()})
    found.follow({BRAND: BRAND_OF_OURS, BRAND + 1: None})
    assert len(known(found)) == 1
    found.follow({BRAND: replace(BRAND_OF_OURS, activated_at=None)})
    assert known(found) == []


def test_templates_do_not_grow_with_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most that is kept, the next page begins with none."""
    monkeypatch.setattr("izin.replay.ledger.lost_row_templates.MOST", 2)
    found = templates()
    examples = {name: a_shadow(desired_origin=name) for name in ("one", "two", "three")}
    found.learn({"one": examples["one"], "two": examples["two"]})
    found.follow({BRAND: BRAND_OF_OURS})
    assert len(known(found)) == 2
    found.learn(examples)
    found.follow({BRAND: BRAND_OF_OURS})
    assert (known(found), found.values["known"]) == ([], [])
