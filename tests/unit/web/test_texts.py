"""Every text of the console has a Turkish one, and no translation is left over.

Texts are found where they are written: in templates, and in Python as what is said to people.
"""

import ast
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from izin.ledger.automatic_suspension.decisions import SuspensionDecision
from izin.ledger.console.accounts import AccountRole
from izin.views import i18n, months, worklist
from izin.views.i18n import Language
from izin.views.remedies import REMEDIES
from izin.views.worklist import Need
from izin.views.worklist_acts import EFFECTS, WorkAct
from izin.web import app
from izin.web.visit import NAVIGATION
from tests.support.project_rules import ROOT, tree_of

WEB = ROOT / "izin" / "web"
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
MODULES = sorted([*WEB.rglob("*.py"), *(ROOT / "izin" / "views").glob("*.py")])
CATALOGS = sorted((WEB / "locale" / "tr").glob("*.po"))
IN_TABLES = {
    *(one.name for one in NAVIGATION),
    *AccountRole,
    *app._REFUSALS.values(),
    *(message for _, message in app._REFUSED.values()),
    *(one.label for one in WorkAct),
    *Need,
    *SuspensionDecision,
    *REMEDIES.values(),
    *EFFECTS.values(),
    *months.TITLES.values(),
    *worklist.HEADER,
}
"""Texts that templates get by a variable."""
SAYS = {"text": 0, "RefusedVisitError": 1, "_shown": 1, "sentence": 0, "Instruction": 1}
"""Which argument of a call is a text for people."""
_OF_A_VARIABLE = re.compile(r"(?<![\w.])_\(\s*[^\"'\s]")
_SPACED = str.maketrans("_-", "  ")
"""Names of fields, as people read them."""
_NAMED = re.compile(r"%\((\w+)\)[sd]")


def in_template(text: str) -> Iterator[str]:
    """Yield the texts of a template."""
    options: dict[str, Any] = {"newstyle_gettext": "true", "silent": "false"}
    file = io.BytesIO(text.encode())
    found = extract("jinja2.ext:babel_extract", file, keywords={"_": None}, options=options)
    yield from (message for _, message, *_ in found if isinstance(message, str))


def in_module(text: str, known: dict[str, object]) -> Iterator[str]:
    """Yield the texts that a module says to people; ``known`` has what its names stand for."""
    for call in (one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Call)):
        name = getattr(call.func, "attr", None) or getattr(call.func, "id", "")
        if name not in SAYS:
            continue
        # i18n.text has the language first.
        given = call.args[SAYS[name] :][: 2 if name == "text" else 1]
        for one in (each for argument in given for each in ast.walk(argument)):
            value = known.get(one.id) if isinstance(one, ast.Name) else None
            value = one.value if isinstance(one, ast.Constant) else value
            if isinstance(value, str) and value:
                yield value


def texts() -> dict[str, str]:
    """Return every text with where it is."""
    found = dict.fromkeys(IN_TABLES, "a table")
    for path in TEMPLATES:
        found |= dict.fromkeys(in_template(path.read_text("utf-8")), path.name)
    for path in MODULES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module.endswith("__main__"):
            continue
        known = vars(import_module(module))
        found |= dict.fromkeys(in_module(path.read_text("utf-8"), known), path.name)
    return found


def written() -> set[str]:
    """Return every string of the code, names of acts and codes among them, and the texts of
    templates: a translation of none of them is left over.
    """
    found = {*IN_TABLES}
    for path in TEMPLATES:
        found |= {*in_template(path.read_text("utf-8"))}
    for path in (ROOT / "izin").rglob("*.py"):
        for one in ast.walk(tree_of(path)):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                found.add(one.value)
    return found


def messages(path: Path) -> dict[str, str]:
    """Return the translations of a catalog."""
    with path.open("rb") as file:
        return {str(one.id): str(one.string) for one in read_po(file) if one.id}


def test_every_text_has_a_turkish_one():
    """Where one is missing, its English stands on a Turkish page."""
    known = {name for path in CATALOGS for name in messages(path)}
    missing = {text: where for text, where in texts().items() if text not in known}
    assert missing == {}


def test_no_translation_is_left_over():
    """It would be read for nothing, and be kept up to date for nobody. Names of acts are made of
    words, so of those nobody knows.
    """
    used = {text.translate(each) for text in written() for each in ({}, _SPACED)}
    left = {
        path.name: sorted(messages(path).keys() - used)
        for path in CATALOGS
        if path.name != "acts.po"
    }
    assert {name: found for name, found in left.items() if found} == {}


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.name)
def test_no_text_is_twice_in_a_catalog(path: Path):
    """Of two translations the later one would win."""
    blocks = re.findall(r"^msgid ((?:\".*\"\n)+)", path.read_text("utf-8"), re.MULTILINE)
    counts = Counter("".join(re.findall(r'"(.*)"', block)) for block in blocks)
    assert [text for text, count in counts.items() if count > 1] == []


def test_text_of_several_catalogs_has_one_translation():
    """Else the name of a file would decide which it is."""
    found = defaultdict[str, set[str]](set)
    for path in CATALOGS:
        for text, translated in messages(path).items():
            found[text].add(translated)
    assert {text: these for text, these in found.items() if len(these) > 1} == {}


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.name)
def test_translation_has_what_its_text_names(path: Path):
    """The same values, and no empty text. Of an error that a command prints, too, a screen leaves
    out what its page shows.
    """
    for text, translated in messages(path).items():
        assert translated.strip(), text
        named, given = _NAMED.findall(translated), _NAMED.findall(text)
        is_part = path.name == "imports.po" and {*named} <= {*given}
        assert is_part or sorted(given) == sorted(named), text


def test_no_template_translates_a_variable():
    """Jinja reads it as a format and as safe: of an error with ``%`` it would make another, and of
    markup in it markup. The filter ``text`` does neither.
    """
    found = {
        path.name: lines
        for path in TEMPLATES
        if (lines := _OF_A_VARIABLE.findall(path.read_text("utf-8")))
    }
    assert found == {}
    assert _OF_A_VARIABLE.findall("{{ _(message) }}")


def test_texts_are_found_where_they_are_written():
    """In templates and calls, also by a name; the search can fail."""
    assert [*in_template('{{ _("One %(n)s", n=1) }} {{ plain }}')] == ["One %(n)s"]
    code = (
        'raise RefusedVisitError(403, _WHY)\nvisit.text("Two", n=1)\ni18n.text(language, "Three")'
    )
    assert [*in_module(code, {"_WHY": "Four"})] == ["Four", "Two", "Three"]


@pytest.mark.parametrize(
    ("language", "number", "duration"),
    [(Language.TURKISH, "1.234,5", "3,2 sn"), (Language.ENGLISH, "1,234.5", "3.2 s")],
)
def test_numbers_are_written_as_the_language_does(language: Language, number: str, duration: str):
    """And nothing is a dash."""
    assert (i18n.number(language, 1234.5), i18n.duration(language, 3.2)) == (number, duration)
    assert {i18n.number(language, None), i18n.when(language, None)} == {"–"}
    assert i18n.duration(language, None) == "–"


def test_duration_is_in_the_largest_unit_that_it_fills():
    """From milliseconds to days."""
    found = [i18n.duration(Language.TURKISH, one) for one in (0.24, 59, 720, 7200, 200_000)]
    assert found == ["240 ms", "59 sn", "12 dk", "2 sa", "2,3 gün"]
