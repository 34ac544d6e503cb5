"""The site: docs/ as it stands, with its index as the table of contents."""

import re
import sys
from importlib import metadata
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "izin"
copyright = "izin's contributors"  # noqa: A001  # Sphinx reads this name
release = metadata.version("izin")
html_theme = "furo"
html_title = f"izin {release}"
html_static_path: list[str] = []
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
suppress_warnings = ["myst.header"]
exclude_patterns = ["images/*.md"]
source_suffix = {".md": "markdown"}

_PAGE = re.compile(r"\]\(([\w/.-]+)\.md\)")
_SECTION = re.compile(r"(?m)^## (.+)$")
_ELSEWHERE = re.compile(
    r"\[([^\]]+)\]\(((?:\.\./)+[^)\s]*|[\w/.-]+/|[\w./-]+\.(?:json|toml|sql|yml|sh))\)"
)
_LIBRARY = {
    "izin.producers": "publish consents and opt-outs",
    "izin.subscribers": "subscribe to opt-outs, and ask whether a message may be sent",
}
"""The packages whose names other teams import."""


def read(_: Sphinx, name: str, source: list[str]) -> None:
    """Have the sections of an index be those of the table of contents, and what a page names beside
    the pages be named without a link: it is no part of the site.
    """
    text = source[0]
    if name in {"index", "tr/index"}:
        text += "".join(_contents(text, name))
    source[0] = _ELSEWHERE.sub(_unlinked, text)


def _unlinked(found: re.Match[str]) -> str:
    label, target = found.groups()
    page, _, _ = target.removeprefix("../").partition("#")
    # A page in a folder leads to one that is not.
    is_page = target.startswith("../") and ".." not in page and (ROOT / "docs" / page).is_file()
    return found[0] if is_page else label


def _contents(text: str, name: str) -> list[str]:
    """Return a hidden table of contents for each section of an index."""
    seen: set[str] = set()
    parts = _SECTION.split(text)
    sections = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    found = []
    for title, body in sections:
        pages = [
            one for one in _PAGE.findall(body) if not one.startswith("../") and one not in seen
        ]
        seen.update(pages)
        listed = "".join(f"{page}\n" for page in pages)
        if title == "Inside":
            listed += "decisions/index\n"
        if listed:
            found.append(
                f"\n```{{toctree}}\n:hidden:\n:caption: {title or 'Start'}\n\n{listed}```\n"
            )
    if name == "index":
        found.append("\n```{toctree}\n:hidden:\n:caption: Reference\n\nlibrary\n```\n")
    return found


def write_pages(app: Sphinx) -> None:
    """Write the pages that are of the site alone: the names of the library, the decisions."""
    folder = Path(app.srcdir)
    parts = ["# The library\n"]
    for module, purpose in _LIBRARY.items():
        # Some names are of both.
        again = "   :no-index:\n" if len(parts) > 1 else ""
        parts.append(
            f"## {module}\n\nTo {purpose}.\n\n```{{eval-rst}}\n.. automodule:: {module}\n"
            f"   :members:\n   :imported-members:\n{again}```\n"
        )
    (folder / "library.md").write_text("\n".join(parts), "utf-8")
    (folder / "decisions" / "index.md").write_text(
        "# Decisions\n\n```{toctree}\n:glob:\n:maxdepth: 1\n\n0*\n```\n", "utf-8"
    )


def setup(app: Sphinx) -> None:
    """Add what is above."""
    for name in ("csv", "mermaid"):
        app.add_lexer(name, TextLexer)
    app.connect("builder-inited", write_pages)
    app.connect("source-read", read)
