"""Printable pages in Turkish, as HTML without scripts, for A4: what people typed is no markup, and
its controls are written out.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from izin.consent import visible


def page(title: str, parts: Iterable[str], footer: str) -> bytes:
    """Return a page of ``parts``, which are markup, between its title and a footer."""
    css = (resources.files("izin.evidence") / "summary.css").read_text("utf-8")
    lines = [
        "<!DOCTYPE html>",
        '<html lang="tr"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{css}</style></head><body>",
        *parts,
        f"<footer>{escape(footer)}</footer>",
        "</body></html>",
    ]
    return visible("\n".join(lines) + "\n").encode()


def fact_table(facts: Iterable[tuple[str, str]]) -> str:
    """Return names with their values as a table."""
    rows = "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts
    )
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>'


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, ends: bool = False) -> str:
    """Return a table, whose first column is an instant or a name; with ``ends`` the last column is
    a place on a chain.
    """
    if not rows:
        return '<p class="none">Kayıt yoktur.</p>'
    heads = "".join(f"<th>{escape(one)}</th>" for one in titles)
    lines = []
    for row in rows:
        classes = ['class="when"', *[""] * (len(row) - 1)]
        if ends:
            classes[-1] = 'class="place"'
        cells = "".join(
            f"<td {how}>{escape(cell)}</td>" if how else f"<td>{escape(cell)}</td>"
            for how, cell in zip(classes, row, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    body = "\n".join(lines)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"
