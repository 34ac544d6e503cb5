"""İYS's own description, where it lies beside the repository."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

DESCRIPTION = Path(__file__).parents[4] / "shared" / "iys" / "openapi-3.2.0.json"
_METHODS = ("get", "post", "put", "delete", "patch")
_VIA = ("/via/", "/otp-management/", "/widget/")


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Give the whole description."""
    return json.loads(DESCRIPTION.read_text(encoding="utf-8"))


def described() -> dict[str, dict[str, Any]]:
    """Give its operations by method and path, as the conformance table names them."""
    return {
        f"{method.upper()} {path}": {**operation, "path": path}
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    }


def is_of_the_consent_domain(operation: dict[str, Any]) -> bool:
    """Tell it from ViA, ViA PASS and ViA Frame, which the twin does not simulate."""
    return not operation["path"].startswith(_VIA)


def examples_of(operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the example answers of an operation: HTTP status and value, but for empty ones."""
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            told = [example.get("value") for example in content.get("examples", {}).values()]
            told += [content["example"]] if "example" in content else []
            yield from ((status, value) for value in told if value is not None)
