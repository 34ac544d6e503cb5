"""Whose form it is, which cookies are whose, and which settings are refused."""

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from izin.runtime.errors import SettingError
from izin.runtime.settings import ConsoleSettings
from izin.web.app import csrf_of, is_same_origin
from izin.web.visit import cookie_name, set_cookie

OWN = "https://console.example.com"
LOCAL = "http://127.0.0.1:8090"


def asking(**headers: str) -> Request:
    """Return a request with these headers."""
    named = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    return Request({"type": "http", "method": "POST", "headers": named})


@pytest.mark.parametrize(
    ("own", "headers", "is_ours"),
    [
        (OWN, {"origin": OWN}, True),
        (OWN, {"origin": OWN, "host": "10.0.0.1:8090"}, True),
        (OWN, {"origin": OWN, "sec_fetch_site": "same-origin"}, True),
        (OWN, {"sec_fetch_site": "same-origin"}, True),
        (OWN, {}, False),
        (OWN, {"cookie": "a=b"}, False),
        (OWN, {"origin": OWN, "sec_fetch_site": "cross-site"}, False),
        (OWN, {"origin": OWN, "sec_fetch_site": "same-site"}, False),
        (OWN, {"origin": OWN, "sec_fetch_site": "none"}, False),
        (OWN, {"origin": "null"}, False),
        (OWN, {"origin": ""}, False),
        (OWN, {"origin": "http://console.example.com"}, False),
        (OWN, {"origin": f"{OWN}:444"}, False),
        (OWN, {"origin": "https://evil.example.com"}, False),
        # A name that was made to lead here.
        (LOCAL, {"origin": "http://evil.example.com:8090", "host": "evil.example.com:8090"}, False),
        (OWN, {"origin": "https://evil.example.com", "host": "evil.example.com"}, False),
        # A tunnel, which ends at another port of the browser's own machine.
        (OWN, {"origin": "http://localhost:9000", "host": "localhost:9000"}, True),
        (OWN, {"origin": "http://[::1]:9000", "host": "[::1]:9000"}, True),
        (LOCAL, {"origin": "http://localhost:8090", "host": "localhost:8090"}, True),
        # Another program there.
        (LOCAL, {"origin": "http://localhost:3000", "host": "localhost:8090"}, False),
        (
            LOCAL,
            {"origin": "http://localhost.evil.example", "host": "localhost.evil.example"},
            False,
        ),
        (LOCAL, {"origin": "http://[::", "host": "[::"}, False),
        (LOCAL, {"origin": "\xff", "host": "\xff"}, False),
    ],
)
def test_form_is_taken_from_our_own_origin_alone(own: str, headers: dict[str, str], is_ours: bool):
    """As the browser says it; one that says nothing is none."""
    assert is_same_origin(asking(**headers), own) is is_ours


def test_token_of_forms_is_of_its_session():
    """Each session has another, and it tells nothing of the session's own."""
    assert csrf_of("a") != csrf_of("b")
    assert "a-long-token" not in csrf_of("a-long-token")


@pytest.mark.parametrize(("url", "name"), [(OWN, "__Host-izin_x"), (LOCAL, "izin_x")])
def test_cookie_over_tls_is_of_this_host_alone(url: str, name: str):
    """Its name has the prefix, and it what browsers want of that: also where it is taken away."""
    settings, response = ConsoleSettings(url=url), Response()
    set_cookie(response, settings, "izin_x", "1", lasts=None)
    set_cookie(response, settings, "izin_x", "", lasts=0)
    given, taken = (value for key, value in response.headers.items() if key == "set-cookie")
    assert cookie_name(settings, "izin_x") == name
    for one in (given, taken):
        words = {word.strip().lower() for word in one.split(";")}
        assert one.startswith(f"{name}=")
        assert {"httponly", "path=/", "samesite=lax"} <= words
        assert ("secure" in words) is (url == OWN)
        assert not any(word.startswith("domain") for word in words)
    assert "Max-Age=0" in taken


@pytest.mark.parametrize(
    "url",
    [
        "https://console.example.com/izin",
        "https://ada@console.example.com",
        "https://console.example.com:443",
        "http://console.example.com:80",
        "console.example.com",
        "ftp://console.example.com",
        "https://",
        "https://console.example.com?a",
        "https://konsol.örnek.example",
    ],
)
def test_address_that_is_no_origin_is_refused(url: str):
    """Its forms would be of no origin that a browser names."""
    with pytest.raises(SettingError, match="IZIN_CONSOLE_URL must be the root"):
        ConsoleSettings(url=url)


def test_origin_is_written_as_browsers_do():
    """In small letters, without a slash behind it."""
    assert ConsoleSettings(url="https://Console.Example.com/").origin == OWN
    assert ConsoleSettings(url="http://[::1]:8090").origin == "http://[::1]:8090"


def test_production_refuses_what_would_cross_the_network_readable():
    """The console's own address, where one is set, and the provider's."""
    assert ConsoleSettings(production=True).url == LOCAL
    with pytest.raises(SettingError, match="refuses IZIN_CONSOLE_URL"):
        ConsoleSettings(production=True, url="http://console.example.com")
    provider = {"oidc_client_id": "izin", "oidc_client_secret": SecretStr("fake")}
    with pytest.raises(SettingError, match="refuses IZIN_CONSOLE_OIDC_ISSUER"):
        ConsoleSettings(production=True, oidc_issuer="http://login.example.com", **provider)
    with pytest.raises(SettingError, match="go together"):
        ConsoleSettings(**provider)
