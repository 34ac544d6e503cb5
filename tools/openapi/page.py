"""The page of every HTTP operation, from the OpenAPI documents."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tools.openapi.documents import documents

_PAGE = """{note}
# HTTP

Every operation of our HTTP APIs. Each document (OpenAPI 3.1) has parameters, fields, examples and
answers, for tools and for reading; [problems.md](problems.md) has what is answered where something
is refused, [api-keys.md](api-keys.md) what a scope permits.

{documents}"""
_METHODS = ("get", "post", "put", "delete")


def http_page(note: str) -> str:
    """Return the page, ``note`` first."""
    parts = [_section(path, json.loads(text)) for path, text in documents().items()]
    return _PAGE.format(note=note, documents="\n".join(parts))


def _section(path: str, document: Mapping[str, Any]) -> str:
    info, name = document["info"], path.removeprefix("docs/")
    rows = "".join(
        f"| `{method.upper()}` | `{where}` | {operation['summary']} | "
        f"{', '.join(sorted(operation['responses']))} |\n"
        for where, method, operation in _operations(document)
    )
    return (
        f"## {info['title']}\n\n{info['description']} "
        f"[{name}]({name})\n\n| method | path | what it does | answers |\n|---|---|---|---|\n{rows}"
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for what in ("paths", "webhooks"):
        for where, item in document.get(what, {}).items():
            for method in _METHODS:
                if method in item:
                    yield where, method, item[method]
