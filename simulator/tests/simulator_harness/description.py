"""İYS's own description of its API, where it is beside the repository."""

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
    """Return the whole description."""
    return json.loads(DESCRIPTION.read_text(encoding="utf-8"))


def described() -> dict[str, dict[str, Any]]:
    """Return its operations by method and path, as the conformance table names them."""
    return {
        f"{method.upper()} {path}": {**operation, "path": path}
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    }


def is_of_the_consent_domain(operation: dict[str, Any]) -> bool:
    """Return whether it is simulated: ViA, ViA PASS and ViA Frame are not."""
    return not operation["path"].startswith(_VIA)


def examples_of(operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the example responses of an operation, HTTP status and value, except empty ones."""
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            found = [example.get("value") for example in content.get("examples", {}).values()]
            found += [content["example"]] if "example" in content else []
            yield from ((status, value) for value in found if value is not None)
