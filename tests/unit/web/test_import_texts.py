"""What the screens of imports say is there in Turkish; and in either language without options of a
command.
"""

import ast
from collections.abc import Iterator, Sequence
from importlib import resources
from inspect import getsource
from pathlib import Path

import pytest
from jinja2 import Environment
from jinja2.ext import InternationalizationExtension

from izin.consent import SourceError
from izin.kafka.tables.brand_directory import StoppedBrandError, UnknownBrandError
from izin.producers.files import ColumnChoices
from izin.producers.files.delimited import _MAGIC, _WEB_PAGE
from izin.producers.files.table_formats import open_table
from izin.producers.files.workbook import open_workbook
from izin.producers.mapping.columns import resolve
from izin.views.i18n import Language, text, translations
from izin.web.imports import runs
from izin.web.imports.store import ImportStage
from izin.web.screens import import_rows, imports

TEMPLATES = resources.files("izin.web") / "templates"
NARROW = ("telefon", "kanal", "durum", "marka")


def in_templates() -> Iterator[str]:
    environment = Environment(extensions=[InternationalizationExtension], autoescape=True)
    for file in TEMPLATES.iterdir():
        if file.name.startswith("import"):
            for _, _, found in environment.extract_translations(file.read_text("utf-8")):
                first = found[0] if isinstance(found, tuple) else found
                if first is not None:
                    yield first


def in_code() -> Iterator[str]:
    """Yield the texts of refusals, and what is said of acts."""
    for module in (imports, import_rows):
        for node in ast.walk(ast.parse(getsource(module))):
            if isinstance(node, ast.Call):
                for given in node.args:
                    is_text = isinstance(given, ast.Constant) and isinstance(given.value, str)
                    if is_text and " " in given.value:
                        yield given.value
    yield from (*imports.COUNTS.values(), *imports.OUTCOMES.values(), *imports.FIELDS.values())
    yield from (imports.CHANGED, runs._RUNNING, runs._NO_KAFKA, runs._STOPPED)
    yield from (*(stage.value for stage in ImportStage), "interrupted", *runs._STEPS.values())


def is_turkish(wording: str) -> bool:
    """Whether there is a Turkish text."""
    return translations(Language.TURKISH).ugettext(wording) != wording


def test_every_text_of_the_screens_is_there_in_turkish():
    """In templates, in refusals, and what is counted."""
    found = {*in_templates(), *in_code()}
    assert {one for one in found if not is_turkish(one)} == set()
    assert len(found) > 150


@pytest.mark.parametrize(
    ("headers", "choices"),
    [
        ((*NARROW, "Renk"), {}),
        (("ada@example.com", *NARROW), {}),
        (("telefon", "kanal", "Üyelik", "marka"), {"mapped": {"Üyelik": "status"}}),
        (("telefon", "Tarih 2", "marka"), {"mapped": {"Tarih 2": "MESAJ.consent_date"}}),
        ((*NARROW, "İptal Tarihi"), {"ignored": ("İptal Tarihi",)}),
        ((*NARROW, "status"), {}),
        ((*NARROW, "SMS izni"), {}),
        (NARROW[:3], {}),
        (NARROW, {"mapped": {"Renk": "ref"}}),
    ],
)
def test_fault_of_columns_is_said_for_a_screen(headers: Sequence[str], choices: dict[str, object]):
    """Each that a person can bring about there, with what to do about it in the page."""
    with pytest.raises(SourceError) as raised:
        resolve(headers, ColumnChoices(**choices))
    error = raised.value
    assert is_turkish(error.wording)
    for language in Language:
        said = text(language, error.wording, **error.values)
        assert "--" not in said
        assert "%" not in said


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a\0b\n", b"ad\xff\x81\n", b"x" * 300_000])
def test_fault_of_a_file_is_said_in_turkish(content: bytes, tmp_path: Path):
    """What is no table says so, and what to do."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SourceError) as raised:
        resolve(open_table(path, ColumnChoices()).headers, ColumnChoices())
    assert is_turkish(raised.value.wording)
    for wording in (*_MAGIC.values(), _WEB_PAGE):
        assert is_turkish(wording)


def test_fault_of_a_workbook_is_said_in_turkish(tmp_path: Path):
    """It is read by another process, which may give up."""
    path = tmp_path / "file"
    path.write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(SourceError) as raised:
        open_workbook(path, ColumnChoices())
    assert is_turkish(raised.value.wording)


@pytest.mark.parametrize("error", [UnknownBrandError(100001), StoppedBrandError(100001)])
def test_fault_of_a_brand_is_said_for_a_screen(error: SourceError):
    """Without the command that would register it: that is an operator's."""
    assert is_turkish(error.wording)
    assert "izin brands" not in text(Language.ENGLISH, error.wording, **error.values)
