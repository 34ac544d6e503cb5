"""The id of an outcome depends on its content alone."""

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from izin.sinks.record.outcome import outcome_id

NAMESPACE = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e01")


@given(
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from(["accepted", "refused"]),
    st.integers(0, 99),
    st.none() | st.just("H174"),
)
def test_outcome_id_is_a_uuid_of_its_content(
    key: str, event_id: str, outcome: str, attempt: int, code: str | None
) -> None:
    """Version 5, over all that distinguishes outcomes: a reader can compute it again."""
    content = f"{key}|{event_id}|{outcome}|{attempt}|{code}"
    found = outcome_id(key, event_id, outcome, attempt, code)
    assert found == str(uuid5(NAMESPACE, content))
