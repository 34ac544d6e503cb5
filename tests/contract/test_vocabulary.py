"""The words that the glossary refuses are found in every place."""

from pathlib import Path

import pytest

from tests.support.source_tree import ROOT, tracked_files
from tests.support.vocabulary import (
    GLOSSARY,
    WORDS,
    exceptions,
    refused_names,
    refused_topics,
    refused_words,
    words,
)

WORD = min(WORDS.in_names)
PHRASE = next(one for one in WORDS.anywhere if " " in one and one.replace(" ", "").isalpha())
CAPITAL = WORD.capitalize()


def test_glossary_lists_words_of_both_kinds() -> None:
    """The refused words are those of the glossary."""
    assert (len(WORDS.anywhere), len(WORDS.in_names)) == (14, 12)
    page = "# A\n\n## B\n\nAnywhere: `x`,\n`y z`.\n\nIn names: `v`.\n"
    assert words(page) == (("x", "y z"), {"v"})


def test_topics_have_no_refused_name() -> None:
    """Topics are visible to every consumer."""
    assert refused_topics() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"In {PHRASE} it is."),
        ("a.py", f'"""{PHRASE.title()}."""\n'),
        ("a.py", "# " + PHRASE.replace(" ", "\n# ") + "\n"),
        ("a.sql", f"-- {PHRASE}\n"),
    ],
)
def test_refused_word_in_any_text_is_found(tmp_path: Path, name: str, text: str) -> None:
    """In prose and comments, in any case, and broken over two lines."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert refused_words(tmp_path, [name]) == [f"{name}: {PHRASE}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", f"is_{WORD} = 1\n"),
        ("a.py", f"class An{CAPITAL}Class: ...\n"),
        ("a.py", f"def f(*, {WORD}): ...\n"),
        ("a.py", f"x = y.{WORD}_z\n"),
        ("a.py", f'x = "izin_{WORD}_total"\n'),
        ("a.py", f'_log.info("{WORD} x", n=1)\n'),
        ("a.py", f'@app.command("{WORD}")\ndef f(): ...\n'),
        ("a.py", f'app = Typer(name="{WORD}")\n'),
        ("a.py", f'x = "--{WORD}-x"\n'),
        ("a.sql", f"SELECT {WORD}_at FROM consents;\n"),
        ("a.avsc", f'{{"name": "A", "fields": [{{"name": "{WORD}_at"}}]}}'),
        (f"a_{WORD}.md", "Nothing."),
        (f"{WORD}/a.md", "Nothing."),
    ],
)
def test_refused_word_in_any_name_is_found(tmp_path: Path, name: str, text: str) -> None:
    """Identifiers, files, columns, metrics, log events, commands, options, fields."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    (finding,) = refused_names(tmp_path, [name])
    assert finding.startswith(f"{name}: ")
    assert refused_words(tmp_path, [name]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"A {WORD} in prose, and an on{WORD}ed thing."),
        ("a.py", f'"""A {WORD}."""\n# {WORD}\nx = "{WORD}"\nkh{WORD}s = 1\n'),
        ("a.sql", f"SELECT '{WORD}' /* {WORD} */ -- {WORD}\n"),
    ],
)
def test_refused_name_in_prose_is_not_found(tmp_path: Path, name: str, text: str) -> None:
    """There these words have their ordinary meaning."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert refused_names(tmp_path, [name]) == []


def test_every_exception_is_needed_and_has_a_reason() -> None:
    """An exception that is no longer needed goes."""
    files = set(tracked_files(ROOT)) or pytest.skip("no git checkout")
    for (path, word), reason in exceptions().items():
        assert path in files
        assert len(reason.split()) >= 3
        assert word in {"*", *WORDS.anywhere, *WORDS.in_names}
        assert path == str(GLOSSARY) or word.lower() in (ROOT / path).read_text("utf-8").lower()
