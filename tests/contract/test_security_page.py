"""SECURITY.md promises what a test holds, and says what is not promised."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROMISES = [
    line.strip("|").split("|")
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| promised |", "|---"))
]
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


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
