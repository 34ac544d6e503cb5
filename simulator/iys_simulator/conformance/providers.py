"""Cases of tokens, brands, subscriptions and partners."""

from collections.abc import Iterator, Mapping
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    change_settings,
    define_account,
    define_brand,
    refusal,
    save_consent,
    success,
)
from iys_simulator.conformance.case import Caller, Case, Endpoint, Expected, Step
from iys_simulator.conformance.queries import SWAPPED_PAGING

_RIGHT: Final = {"username": "$username", "password": "$password", "grant_type": "password"}

_TOKEN_ERRORS: Final[tuple[tuple[str, dict[str, object], str, str], ...]] = (
    # Title, changed fields (None omits one), error, description.
    ("no grant", {"grant_type": None}, "invalid_request", "Giriş yöntemi belirtilmemiş."),
    ("a number for a grant", {"grant_type": 1}, "invalid_request", "Bilinmeyen giriş yöntemi."),
    ("an empty grant", {"grant_type": ""}, "invalid_grant", "Giriş yöntemi boş olamaz."),
    (
        "another grant",
        {"grant_type": "client_credentials"},
        "invalid_grant",
        "Desteklenmeyen giriş yöntemi.",
    ),
    ("no password", {"password": None}, "invalid_request", "Şifre verilmemiş."),
    ("a number for a password", {"password": 1}, "invalid_request", "Desteklenmeyen şifre türü."),
    ("an empty password", {"password": ""}, "invalid_grant", "Şifre boş bırakılamaz."),
    ("no user name", {"username": None}, "invalid_request", "Kullanıcı adı verilmemiş."),
    (
        "a number for a user name",
        {"username": 1},
        "invalid_request",
        "Desteklenmeyen kullanıcı adı türü.",
    ),
    ("an empty user name", {"username": ""}, "invalid_grant", "Kullanıcı adı boş bırakılamaz."),
    (
        "a wrong password",
        {"password": "wrong"},
        "invalid_request",
        "Kullanıcı kimlik bilgileri geçersiz.",
    ),
)
_REFRESH_ERRORS: Final[tuple[tuple[str, dict[str, object], str, str], ...]] = (
    ("no refresh token", {}, "invalid_request", "Yenileme jetonu verilmemiş."),
    (
        "an empty refresh token",
        {"refresh_token": ""},
        "invalid_grant",
        "Yenileme jetonu boş olamaz.",
    ),
    (
        "refresh token that was never issued",
        {"refresh_token": "x"},
        "invalid_request",
        "Desteklenmeyen yenileme jetonu türü.",
    ),
)


def cases() -> Iterator[Case]:
    """Yield the cases of tokens, brands, subscriptions and partners."""
    yield from _of_tokens()
    yield from _of_brands()
    yield from _of_credits()
    yield from _of_partners()


def _of_tokens() -> Iterator[Case]:
    def case(title: str, expected: Expected, body: object, *setup: Step, is_form: bool) -> Case:
        return Case(
            endpoint=ep.TOKEN,
            title=title,
            expected=expected,
            body=body,
            setup=setup,
            caller=Caller.NOBODY,
            is_form=is_form,
        )

    done = success(200, {"access_token": ..., "refresh_token": ..., "token_type": "bearer"})
    refresh = {"grant_type": "refresh_token", "refresh_token": "$refreshToken"}
    kept = Step(
        method="POST",
        path="/oauth2/token",
        body=_RIGHT,
        caller=Caller.NOBODY,
        saves={"refreshToken": "refresh_token"},
    )
    for name, is_form in (("JSON", False), ("a form", True)):
        yield case(f"a password, as {name}", done, _RIGHT, is_form=is_form)
        yield case(f"a refresh token, as {name}", done, refresh, kept, is_form=is_form)
    used = Step(method="POST", path="/oauth2/token", body=refresh, caller=Caller.NOBODY)
    again = Expected(status=400, has={"error": "invalid_request"})
    yield case("a refresh token once more", again, refresh, kept, used, is_form=False)
    for title, changed, kind, description in _TOKEN_ERRORS:
        body = {name: it for name, it in {**_RIGHT, **changed}.items() if it is not None}
        expected = Expected(status=400, has={"error": kind, "error_description": description})
        yield case(title, expected, body, is_form=False)
    for title, token, kind, description in _REFRESH_ERRORS:
        expected = Expected(status=400, has={"error": kind, "error_description": description})
        yield case(title, expected, {"grant_type": "refresh_token", **token}, is_form=False)
    unread = {"error": "invalid_request", "error_description": "Giriş yöntemi belirtilmemiş."}
    for title, broken in (("no JSON", b"{"), ("a list", [])):
        yield case(title, Expected(status=400, has=unread), broken, is_form=False)
    step = Step(
        method="POST", path="/oauth2/token", body=_RIGHT, caller=Caller.NOBODY, may_fail=True
    )
    yield case(
        "second token with a limit of one per hour",
        refusal("H084", 429),
        _RIGHT,
        change_settings(tokenLimit=1),
        step,
        is_form=False,
    )


def _of_brands() -> Iterator[Case]:
    counts = {
        "0.brandCode": "$brandCode",
        "0.master": True,
        "0.stats.consents.approval": 1,
        "0.stats.consents.total": 1,
        "0.stats.retailers.total": 1,
    }
    yield Case(
        endpoint=ep.BRANDS,
        title="a brand with its counts",
        expected=success(200, counts),
        setup=(define_brand(), save_consent()),
    )
    yield Case(
        endpoint=ep.BRANDS,
        title="a provider without a brand",
        expected=refusal("H001", 404),
        setup=(define_brand(iysCode="$integratorCode"),),
    )
    yield Case(
        endpoint=ep.SUBSCRIPTION,
        title="state and quota",
        expected=success(200, {"status": "ACTIVE", "consentLimit": 5, "usedConsentLimit": 1}),
        setup=(define_brand(consentLimit=5), save_consent()),
    )


def _of_credits() -> Iterator[Case]:
    for key in ("subscriptionId", "subscipritionId"):
        credits_left = {
            key: ...,
            "viaSubscriptionPackage.viaCredit": 7,
            "viaPassSubscriptionPackage.viaPassCredit": 5,
        }
        yield Case(
            endpoint=ep.SUBSCRIPTION,
            title=f"with ViA and ViA PASS, where the key is {key}",
            expected=success(200, credits_left),
            setup=(
                define_account(viaCredit=7, viaPassCredit=5),
                change_settings(subscriptionKey=key),
            ),
        )
        yield Case(
            endpoint=ep.PARTNER_SUBSCRIPTION,
            title=f"the partner's own, where the key is {key}",
            expected=success(200, {key: ..., "iysCode": "$integratorCode"}),
            setup=(change_settings(subscriptionKey=key),),
            caller=Caller.PARTNER,
        )


def _of_partners() -> Iterator[Case]:
    def case(
        endpoint: Endpoint,
        title: str,
        expected: Expected,
        *setup: Step,
        query: Mapping[str, object] | None = None,
    ) -> Case:
        return Case(
            endpoint=endpoint,
            title=title,
            expected=expected,
            query=query or {},
            setup=setup,
            caller=Caller.PARTNER,
        )

    own = {"list.0.name": "Uygunluk", "list.0.MESAJ": "write", "pagination.totalCount": 1}
    as_text = success(200, own)
    as_number = success(200, {**own, "list.0.brandCode": "$brandCode"})
    yield case(ep.PARTNER_BRANDS, "the brands that granted something", as_text)
    yield case(ep.PARTNER_PROVIDER, "those of one provider", as_number)
    reads = define_brand(
        grants=[{"integratorCode": "$integratorCode", "rights": {"MESAJ": "read"}}]
    )
    only = success(200, {"list.0.MESAJ": "read"})
    yield case(ep.PARTNER_BRANDS, "a right to read", only, reads)
    for endpoint in (ep.PARTNER_BRANDS, ep.PARTNER_PROVIDER):
        for title, query, code, location in SWAPPED_PAGING:
            yield case(endpoint, title, refusal(code, 422, location), query=query)
    subscription = success(200, {"status": "ACTIVE", "iysCode": "$integratorCode"})
    yield case(ep.PARTNER_SUBSCRIPTION, "the partner's own", subscription)
    yield Case(
        endpoint=ep.PARTNER_SUBSCRIPTION,
        title="another partner's",
        expected=refusal("H437", 404),
        path_params={"integratorCode": 999_999_999},
        caller=Caller.PARTNER,
    )
