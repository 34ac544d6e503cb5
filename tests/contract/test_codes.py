"""Every code that is reported is in one table, in two languages; every code of İYS is handled.

Every named statement of ``sql/*.sql`` is used by Python code, and every file is loaded.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from izin.consent import violations as law
from izin.ledger.record import messages
from izin.producers.mapping import field_names as producers
from izin.streams import guard
from tests.support.iys import CORE_CODES, NOT_A_VIOLATION, OF_A_RECORD
from tests.support.project_rules import ROOT, product_modules, text_of, tracked_files

REFERENCE = ROOT.parent / "shared" / "iys" / "reference.md"
TABLES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "the law": law.REASONS,
    "the producers": producers.REASONS,
    "the order stage": guard.REASONS,
    "the sinks": messages.REASONS,
}
NAMED = {code for table in TABLES.values() for code in table}


def codes_of_ours(root: Path) -> Counter[str]:
    """Count the codes of ours in the package's source; one put together would not be found."""
    found: Counter[str] = Counter()
    for path in root.rglob("*.py"):
        found.update(re.findall(r"""["'](IZIN-[^"']*)["']""", path.read_text(encoding="utf-8")))
    del found["IZIN-"]  # the prefix alone is cut off, and names nothing
    return found


def test_every_code_of_ours_is_in_a_table_and_used():
    """A code outside the tables has no reason; an unused reason is dead."""
    used = codes_of_ours(ROOT / "izin")
    assert set(used) == {code for code in NAMED if code.startswith("IZIN-")}
    assert [code for code, count in used.items() if count < 2] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('x = "IZIN-MADE-UP"', "IZIN-MADE-UP"),
        ("x = 'IZIN-MADE-UP'", "IZIN-MADE-UP"),
        ('x = f"IZIN-{name}"', "IZIN-{name}"),
    ],
)
def test_code_outside_the_tables_is_found(tmp_path: Path, text: str, found: str):
    """The check can fail: also where a code is put together."""
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    assert set(codes_of_ours(tmp_path)) == {found}
    assert found not in NAMED


def test_no_code_is_in_two_tables():
    """One code has one reason, apart from the field."""
    assert Counter(code for table in TABLES.values() for code in table).most_common(1)[0][1] == 1


@pytest.mark.parametrize("layer", TABLES)
def test_every_reason_is_in_two_languages(layer: str):
    """English for operators, Turkish for those who correct the record, with the same places."""
    for code, (english, turkish) in TABLES[layer].items():
        assert english, code
        assert turkish, code
        assert english != turkish, code
        assert turkish.endswith("."), code
        places = re.compile(r"\{\w+\}")
        assert set(places.findall(turkish)) <= {*places.findall(english), "{width}"}, code


@pytest.mark.parametrize("code", OF_A_RECORD)
def test_code_of_a_record_is_checked_before_iys(code: str):
    """What a record can be refused for is a violation, or cannot happen."""
    assert code in CORE_CODES
    assert (code in NAMED) is not (code in NOT_A_VIOLATION)


def test_every_exception_is_a_code_of_a_record():
    """And no violation has an H-code that no record can get."""
    assert set(NOT_A_VIOLATION) <= set(OF_A_RECORD)
    assert {code for code in NAMED if code.startswith("H")} <= set(OF_A_RECORD)


@pytest.mark.skipif(not REFERENCE.exists(), reason="İYS's reference is not here")
def test_codes_are_those_of_the_reference():
    """The list here and İYS's table of codes are the same."""
    text = REFERENCE.read_text(encoding="utf-8")
    table = text[text.index("## 5.1 ") : text.index("## 5.2 ")]
    assert sorted(CORE_CODES) == sorted(re.findall(r"^\| (H\d{3})\b", table, re.MULTILINE))


_NAME = re.compile(r"(?m)^-- name: (\S+)$")
_LOADED = re.compile(r"statements\(\s*\"(\w+)\"")


class _Texts:
    """The texts in a module; what an f-string fills in may be anything."""

    def __init__(self, text: str) -> None:
        self.loads = set(_LOADED.findall(text))
        self.texts = set[str]()
        self.patterns = set[str]()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.add(node.value)
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                parts = (one.value if isinstance(one, ast.Constant) else "" for one in node.values)
                self.patterns.add(r"[\w-]+".join(re.escape(str(one)) for one in parts))

    def has(self, name: str) -> bool:
        """Whether it may name a statement."""
        return name in self.texts or any(re.fullmatch(one, name) for one in self.patterns)


def unused(files: Mapping[str, Iterable[str]], modules: Iterable[str]) -> list[str]:
    """Return the statements of ``files``, by file, that no module which loads the file names; a
    name with a hyphen may be handed over by another module.
    """
    texts = [_Texts(one) for one in modules]
    found = []
    for file, names in files.items():
        loading = [one for one in texts if file in one.loads]
        for name in names:
            asked = texts if loading and "-" in name else loading
            if not any(one.has(name) for one in loading) and not any(
                one.has(name) for one in asked
            ):
                found.append(f"{file}: {name}")
    return found


def test_every_named_statement_is_used():
    """What nobody runs is not maintained."""
    files = tracked_files(ROOT)
    statements = {
        Path(name).stem: _NAME.findall(text_of(ROOT / name))
        for name in files
        if name.startswith("izin/") and "/sql/" in name
    }
    assert len(statements) > 40
    assert unused(statements, [text_of(ROOT / name) for name in product_modules(files)]) == []


def test_unused_statement_is_found():
    """One that nobody names, one of a file that nobody loads; not what is put together."""
    modules = ['_SQL = statements("a")\n_SQL["read"]\n_SQL[f"drop-{table}"]\n']
    found = unused({"a": ["read", "drop-rows", "old"], "b": ["read"]}, modules)
    assert found == ["a: old", "b: read"]
