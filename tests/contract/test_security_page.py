"""SECURITY.md promises what a test holds, and says what is not promised.

docs/subscribing.md says what the code says.
"""

import ast
import inspect
import re
from dataclasses import fields
from datetime import timedelta

import pytest

from izin.consent.may_send import PermissionReason
from izin.schemas import contracts
from izin.schemas.topics import Topics
from izin.subscribers import Change, OutcomeKind
from tests.support.source_tree import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROMISES = [
    line.strip("|").split("|")
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| promised |", "|---"))
]
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")
SUBSCRIBING = (ROOT / "docs" / "subscribing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("promise", "named"), PROMISES)
def test_promise_names_a_test_that_exists(promise: str, named: str) -> None:
    """One that was renamed or removed is a promise that nothing holds."""
    found = NAMED.fullmatch(named.strip())
    assert found, promise
    source = (ROOT / found[1]).read_text(encoding="utf-8")
    assert re.search(rf"^(?:async )?def {found[2]}\(", source, re.MULTILINE), named


def test_each_part_of_the_page_says_what_is_not_promised() -> None:
    """A list of promises alone reads as if there were nothing else."""
    parts = PAGE.split("\n## ")[1:]
    with_promises = [part for part in parts if "| promised |" in part]
    assert len(with_promises) == len(parts) - 1  # all but how to report
    assert all("Not promised:" in part for part in with_promises)
    assert len(PROMISES) == len({promise for promise, _ in PROMISES})


def test_threat_model_names_everyone_and_is_one_page() -> None:
    """Each with what stops them; the page is linked where promises are."""
    model = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    whose = {line.split("|")[1].strip() for line in model.splitlines() if line.startswith("| ")}
    asked = {"customer", "subscriber", "operator", "owner of the database", "owner of the host"}
    assert whose >= {*asked, "receiver of an archive"}
    assert len(model.split()) < 1100
    assert "docs/threat-model.md" in PAGE


def test_page_has_every_reason_with_its_meaning():
    """In the words of the law's own documentation."""
    (declared,) = ast.parse(inspect.getsource(PermissionReason)).body
    assert isinstance(declared, ast.ClassDef)
    meanings = [
        " ".join(node.value.value.split())
        for node in declared.body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    assert len(meanings) == len(PermissionReason)
    for reason, meaning in zip(PermissionReason, meanings, strict=True):
        assert f"| `{reason}` | {meaning} |\n" in SUBSCRIBING


def test_page_has_every_change_with_its_fields():
    """In the order of the classes, which a reader looks up there."""
    rows = re.findall(r"^\| `(\w+)` \| [^|`]* \| (.*) \|$", SUBSCRIBING, re.MULTILINE)
    named = {name: re.findall(r"`(\w+)`", words) for name, words in rows}
    shared = {one.name for one in fields(Change)}
    assert named == {
        one.__name__: [each.name for each in fields(one) if each.name not in shared]
        for one in Change.__subclasses__()
    }


def test_page_names_topics_and_subjects_as_they_are():
    """The names and the retention that the code has."""
    topics = Topics()
    for topic in (topics.opt_outs, topics.permissions, topics.outcomes):
        assert f"`{topic.name}`" in SUBSCRIBING
        assert f"`izin.{topic.record}`" in SUBSCRIBING
    for topic in (topics.opt_outs, topics.outcomes):
        assert int(topic.config["retention.ms"]) == timedelta(days=90) / timedelta(milliseconds=1)
    assert topics.permissions.config["cleanup.policy"] == "compact"


def test_outcomes_are_those_of_the_contract():
    """The words in the schema's documentation, which the ledger writes."""
    (field,) = [
        one for one in contracts.current()["Outcome"].schema["fields"] if one["name"] == "outcome"
    ]
    assert field["doc"] == f"{', '.join(OutcomeKind)}."
