"""Every problem that an endpoint can answer with has its section in docs/problems.md."""

import ast
import re

import pytest
from structlog.testing import capture_logs

from izin.runtime.http_server.problems import ProblemText
from tests.support.source_tree import ROOT

HEADINGS = re.findall(
    r"^## (.*)$", (ROOT / "docs" / "problems.md").read_text("utf-8"), re.MULTILINE
)


def titles() -> set[str]:
    """Return the title of each ``ProblemText`` that the code makes."""
    return {
        ast.literal_eval(call.args[1])
        for path in (ROOT / "izin").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "ProblemText"
        if isinstance(call.args[1], ast.Constant)
    }


def test_page_has_a_section_for_each_title_and_no_other() -> None:
    """In the order of the alphabet."""
    assert sorted(titles()) == HEADINGS


@pytest.mark.parametrize("title", HEADINGS)
def test_type_of_a_problem_is_the_anchor_of_its_section(title: str) -> None:
    """As renderers of Markdown make them."""
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    assert ProblemText(400, title, "").type == f"docs/problems.md#{anchor}"


def test_log_has_the_id_of_a_refused_request() -> None:
    """One for each; the detail is for the client."""
    text = ProblemText(503, "Busy", "send this again", 1)
    with capture_logs() as logs:
        first, second = (text.response() for _ in range(2))
    assert [
        one["request_id"].encode() in bytes(r.body)
        for one, r in zip(logs, (first, second), strict=True)
    ] == [True] * 2
    assert logs[0]["request_id"] != logs[1]["request_id"]
    assert {one["event"] for one in logs} == {"request refused"}
    assert first.headers["retry-after"] == "1"
