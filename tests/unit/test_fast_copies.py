"""Whatever exists for speed says what the general fold says."""

from pathlib import Path

import pytest
from hypothesis import given

from tests.support.fast_copies.registry import FAST_COPIES, HISTORIES, Fact, FastCopy, folded

PRODUCT = Path(__file__).parents[2] / "izin"


@pytest.mark.parametrize("copy", FAST_COPIES, ids=lambda one: one.name)
@given(history=HISTORIES)
def test_fast_copy_equals_the_general_fold(
    copy: FastCopy, history: list[tuple[Fact, bytes | None]]
) -> None:
    """After every fact of any history: events, bootstraps, erasures, daily files and sweeps."""
    copy.compare(folded(history))


def test_fast_copies_are_registered() -> None:
    """Whatever is in the folders of fast copies, and nothing that is not there."""
    registered = {name for one in FAST_COPIES for name in one.modules}
    assert {
        ".".join(path.with_suffix("").relative_to(PRODUCT.parent).parts)
        for folder in ("streams/fast_path",)
        for path in (PRODUCT / folder).glob("[a-z]*.py")
    } <= registered
    for name in registered:
        assert (PRODUCT.parent / f"{name.replace('.', '/')}.py").is_file()
