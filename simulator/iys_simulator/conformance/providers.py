"""Cases of tokens, brands, subscriptions, and of what partners are told."""

from collections.abc import Iterator, Mapping
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import Case, Expected, Operation, Speaker, Step
from iys_simulator.conformance.queries import SWAPPED_PAGING
from iys_simulator.conformance.wording import account, answers, brand, refuses, saved, switched

_RIGHT: Final = {"username": "$username", "password": "$password", "grant_type": "password"}

_TOKEN_ERRORS: Final[tuple[tuple[str, dict[str, object], str, str], ...]] = (
    # What is wrong, the changed fields (None leaves one out), the error, its description.
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
        "a refresh token nobody gave out",
        {"refresh_token": "x"},
        "invalid_request",
        "Desteklenmeyen yenileme jetonu türü.",
    ),
)


def cases() -> Iterator[Case]:
    """Give the cases of tokens, brands, subscriptions and partners."""
    yield from _of_tokens()
    yield from _of_brands()
    yield from _of_credits()
    yield from _of_partners()


def _of_tokens() -> Iterator[Case]:
    def case(what: str, expected: Expected, body: object, *given: Step, is_form: bool) -> Case:
        return Case(
            operation=op.TOKEN,
            what=what,
            expected=expected,
            body=body,
            given=given,
            speaker=Speaker.NOBODY,
            is_form=is_form,
        )

    done = answers(200, {"access_token": ..., "refresh_token": ..., "token_type": "bearer"})
    refresh = {"grant_type": "refresh_token", "refresh_token": "$refreshToken"}
    kept = Step(
        method="POST",
        path="/oauth2/token",
        body=_RIGHT,
        speaker=Speaker.NOBODY,
        keeps={"refreshToken": "refresh_token"},
    )
    for name, is_form in (("JSON", False), ("a form", True)):
        yield case(f"a password, as {name}", done, _RIGHT, is_form=is_form)
        yield case(f"a refresh token, as {name}", done, refresh, kept, is_form=is_form)
    used = Step(method="POST", path="/oauth2/token", body=refresh, speaker=Speaker.NOBODY)
    again = Expected(status=400, has={"error": "invalid_request"})
    yield case("a refresh token once more", again, refresh, kept, used, is_form=False)
    for what, changed, kind, description in _TOKEN_ERRORS:
        body = {name: it for name, it in {**_RIGHT, **changed}.items() if it is not None}
        expected = Expected(status=400, has={"error": kind, "error_description": description})
        yield case(what, expected, body, is_form=False)
    for what, token, kind, description in _REFRESH_ERRORS:
        expected = Expected(status=400, has={"error": kind, "error_description": description})
        yield case(what, expected, {"grant_type": "refresh_token", **token}, is_form=False)
    unread = {"error": "invalid_request", "error_description": "Giriş yöntemi belirtilmemiş."}
    for what, broken in (("no JSON", b"{"), ("a list", [])):
        yield case(what, Expected(status=400, has=unread), broken, is_form=False)
    asked = Step(
        method="POST", path="/oauth2/token", body=_RIGHT, speaker=Speaker.NOBODY, may_fail=True
    )
    yield case(
        "the second token in an hour that takes one",
        refuses("H084", 429),
        _RIGHT,
        switched(tokenLimit=1),
        asked,
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
        operation=op.BRANDS,
        what="a brand with its counts",
        expected=answers(200, counts),
        given=(brand(), saved()),
    )
    yield Case(
        operation=op.BRANDS,
        what="a provider without a brand",
        expected=refuses("H001", 404),
        given=(brand(iysCode="$integratorCode"),),
    )
    yield Case(
        operation=op.SUBSCRIPTION,
        what="state and quota",
        expected=answers(200, {"status": "ACTIVE", "consentLimit": 5, "usedConsentLimit": 1}),
        given=(brand(consentLimit=5), saved()),
    )


def _of_credits() -> Iterator[Case]:
    for key in ("subscriptionId", "subscipritionId"):
        credits_left = {
            key: ...,
            "viaSubscriptionPackage.viaCredit": 7,
            "viaPassSubscriptionPackage.viaPassCredit": 5,
        }
        yield Case(
            operation=op.SUBSCRIPTION,
            what=f"with ViA and ViA PASS, where the key is {key}",
            expected=answers(200, credits_left),
            given=(account(viaCredit=7, viaPassCredit=5), switched(subscriptionKey=key)),
        )
        yield Case(
            operation=op.PARTNER_SUBSCRIPTION,
            what=f"the partner's own, where the key is {key}",
            expected=answers(200, {key: ..., "iysCode": "$integratorCode"}),
            given=(switched(subscriptionKey=key),),
            speaker=Speaker.PARTNER,
        )


def _of_partners() -> Iterator[Case]:
    def case(
        operation: Operation,
        what: str,
        expected: Expected,
        *given: Step,
        query: Mapping[str, object] | None = None,
    ) -> Case:
        return Case(
            operation=operation,
            what=what,
            expected=expected,
            query=query or {},
            given=given,
            speaker=Speaker.PARTNER,
        )

    own = {"list.0.name": "Uygunluk", "list.0.MESAJ": "write", "pagination.totalCount": 1}
    as_text = answers(200, own)
    as_number = answers(200, {**own, "list.0.brandCode": "$brandCode"})
    yield case(op.PARTNER_BRANDS, "the brands that granted something", as_text)
    yield case(op.PARTNER_PROVIDER, "those of one provider", as_number)
    reads = brand(grants=[{"integratorCode": "$integratorCode", "rights": {"MESAJ": "read"}}])
    only = answers(200, {"list.0.MESAJ": "read"})
    yield case(op.PARTNER_BRANDS, "a right to read", only, reads)
    for operation in (op.PARTNER_BRANDS, op.PARTNER_PROVIDER):
        for what, query, code, location in SWAPPED_PAGING:
            yield case(operation, what, refuses(code, 422, location), query=query)
    subscription = answers(200, {"status": "ACTIVE", "iysCode": "$integratorCode"})
    yield case(op.PARTNER_SUBSCRIPTION, "the partner's own", subscription)
    yield Case(
        operation=op.PARTNER_SUBSCRIPTION,
        what="another partner's",
        expected=refuses("H437", 404),
        at={"integratorCode": 999_999_999},
        speaker=Speaker.PARTNER,
    )
