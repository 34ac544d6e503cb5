"""Pages: templates with what they may call, and the headers of every response.

Nothing inline runs or styles a page (Content-Security-Policy), and no cache keeps it: a page may be
of a person.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from izin.runtime.masking import mask, mask_text
from izin.views import i18n
from izin.views.i18n import Language

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'",
        # With "no-referrer" browsers say "Origin: null" of forms, and each would be refused.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }
)
HOST = "__Host-"
"""Begins the names of cookies over TLS: browsers take such a one from this host alone, by TLS."""
LANGUAGE_COOKIE = "izin_language"
_STATIC: Final[Mapping[str, tuple[str, str, str]]] = {
    "console.css": ("izin.web", "static/console.css", "text/css"),
    # Packages of a registry bring them; nothing of Django is imported.
    "htmx.js": ("django_htmx", "static/django_htmx/htmx-2.min.js", "text/javascript"),
    "sse.js": ("django_htmx", "static/django_htmx/ext/hx-sse-2.min.js", "text/javascript"),
    "icon.svg": ("izin.web", "static/icon.svg", "image/svg+xml"),
}
"""What is served beside pages: the package of each, where it is there, and its media type."""


def language_of(request: Request) -> Language:
    """Return the language that was chosen; else Turkish."""
    chosen = request.cookies.get(f"{HOST}{LANGUAGE_COOKIE}") or request.cookies.get(LANGUAGE_COOKIE)
    return Language(chosen) if chosen in set(Language) else i18n.DEFAULT


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("izin.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    # The extension adds it.
    cast("Any", environment).install_gettext_translations(
        i18n.translations(language), newstyle=True
    )
    of_language: Mapping[str, Callable[..., str]] = {
        "number": i18n.number,
        "when": i18n.when,
        "duration": i18n.duration,
        "text": i18n.text,
    }
    environment.filters.update({name: partial(one, language) for name, one in of_language.items()})
    environment.filters |= {"mask": mask, "mask_text": mask_text}
    environment.globals["language"] = language
    return environment


def rendered(template: str, language: Language, **context: object) -> Markup:
    """Return a template as it is in a language."""
    return Markup(_environment(language).get_template(template).render(**context))  # noqa: S704  # escaped by jinja


def page(
    template: str,
    language: Language,
    *,
    status: int = 200,
    headers: Mapping[str, str] = HEADERS,
    **context: Any,  # noqa: ANN401  # what the template shows
) -> Response:
    """Return a response with a template."""
    return Response(
        rendered(template, language, **context),
        status_code=status,
        media_type="text/html",
        headers={**headers, "Content-Language": language},
    )


@cache
def _asset(name: str) -> tuple[bytes, str]:
    package, path, kind = _STATIC[name]
    return (resources.files(package) / path).read_bytes(), kind


async def static(request: Request) -> Response:
    """Return a style sheet or script."""
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response(status_code=404, headers=dict(HEADERS))
    content, kind = _asset(name)
    headers = {**HEADERS, "Cache-Control": "public, max-age=3600"}
    return Response(content, media_type=kind, headers=headers)
