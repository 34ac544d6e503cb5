"""docs/subscribing.md says what the code says."""

import ast
import inspect
import re
from dataclasses import fields
from datetime import timedelta

from izin.consent.may_send import PermissionReason
from izin.schemas import contracts
from izin.schemas.topics import Topics
from izin.subscribers import Change, OutcomeKind
from tests.support.subscribers.page_clients import ROOT

PAGE = "subscribing.md"


def test_page_has_every_reason_with_its_meaning():
    """In the words of the law's own documentation."""
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    (declared,) = ast.parse(inspect.getsource(PermissionReason)).body
    assert isinstance(declared, ast.ClassDef)
    meanings = [
        " ".join(node.value.value.split())
        for node in declared.body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    assert len(meanings) == len(PermissionReason)
    for reason, meaning in zip(PermissionReason, meanings, strict=True):
        assert f"| `{reason}` | {meaning} |\n" in page


def test_page_has_every_change_with_its_fields():
    """In the order of the classes, which a reader looks up there."""
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|`]* \| (.*) \|$", page, re.MULTILINE)
    named = {name: re.findall(r"`(\w+)`", words) for name, words in rows}
    shared = {one.name for one in fields(Change)}
    assert named == {
        one.__name__: [each.name for each in fields(one) if each.name not in shared]
        for one in Change.__subclasses__()
    }


def test_page_names_topics_and_subjects_as_they_are():
    """The names and the retention that the code has."""
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    topics = Topics()
    for topic in (topics.opt_outs, topics.permissions, topics.outcomes):
        assert f"`{topic.name}`" in page
        assert f"`izin.{topic.record}`" in page
    for topic in (topics.opt_outs, topics.outcomes):
        assert int(topic.config["retention.ms"]) == timedelta(days=90) / timedelta(milliseconds=1)
    assert topics.permissions.config["cleanup.policy"] == "compact"


def test_outcomes_are_those_of_the_contract():
    """The words in the schema's documentation, which the ledger writes."""
    (field,) = [
        one for one in contracts.current()["Outcome"].schema["fields"] if one["name"] == "outcome"
    ]
    assert field["doc"] == f"{', '.join(OutcomeKind)}."
