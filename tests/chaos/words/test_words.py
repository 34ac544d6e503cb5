"""A short run of generated names and words; the long one is ``make chaos STAGE=words``."""

import pytest

from izin.schemas.words import fold, status_of
from tests.chaos.words import __main__ as words


def test_generated_words_invent_no_consent():
    """And lose no opt-out; what docs and tests use is read as before, or has a reason."""
    found = words.run(pairs=5000, seed=21)
    assert (found.invented, found.lost, found.broken) == ([], [], [])
    assert min(found.consents, found.opt_outs, found.stopped, len(found.changed)) > 0
    figures = words.report(found, seed=21).figures
    assert (figures["words"], figures["words-invented"], figures["words-lost"]) == (5000, 0, 0)


def test_word_that_is_read_by_its_letters_is_found(monkeypatch: pytest.MonkeyPatch):
    """As it was before: whatever stood beside them was left out."""
    monkeypatch.setattr(words, "said", lambda _name, word, **_: status_of(fold(word)))
    found = words.run(pairs=2000, seed=21)
    assert found.invented
    assert words.report(found, seed=21).figures["words-invented"] == len(found.invented)
