"""Builders of cases: setup requests, bodies and expected responses."""

from collections.abc import Mapping

from iys_simulator.conformance.case import (
    ADMIN,
    NO_BODY,
    OMITTED,
    Caller,
    Case,
    Endpoint,
    Expected,
    Step,
)

CONSENTS = "/sps/$iysCode/brands/$brandCode/consents"
FULL_WIDTH_PHONE = "+\uff19\uff10" + "\uff15" * 3 + "\uff10" * 7


def consent(**changed: object) -> dict[str, object]:
    """Return a valid consent with `changed` fields; `OMITTED` omits one."""
    item = {
        "type": "MESAJ",
        "source": "HS_WEB",
        "recipient": "$phone",
        "status": "ONAY",
        "consentDate": "$yesterday",
        "recipientType": "BIREYSEL",
        **changed,
    }
    return without_omitted(item)


def consent_key(**changed: object) -> dict[str, object]:
    """Return the fields that name one consent, with `changed` fields."""
    return without_omitted(
        {"recipient": "$phone", "recipientType": "BIREYSEL", "type": "MESAJ", **changed}
    )


def without_omitted(item: dict[str, object]) -> dict[str, object]:
    """Return `item` without omitted fields."""
    return {name: value for name, value in item.items() if value is not OMITTED}


def save_consent(**changed: object) -> Step:
    """Return the step that registers a consent."""
    return Step(method="POST", path=CONSENTS, body=consent(**changed))


def submit_batch(*items: object, version: str = "") -> Step:
    """Return the step that submits a batch and saves its `requestId`."""
    return Step(
        method="POST",
        path=f"{version}{CONSENTS}/request",
        body=list(items),
        saves={"requestId": "requestId"},
    )


def define_account(**facts: object) -> Step:
    """Return the step that replaces the provider's account and subscription, with `facts`."""
    body = {"username": "$username", "password": "$password", "iysCode": "$iysCode", **facts}
    return Step(method="POST", path=f"{ADMIN}accounts", body=body)


def define_partner(**facts: object) -> Step:
    """Return the step that replaces the partner's account and subscription, with `facts`."""
    body = {
        "username": "$partnerName",
        "password": "$password",
        "iysCode": "$integratorCode",
        "isIntegrator": True,
        **facts,
    }
    return Step(method="POST", path=f"{ADMIN}accounts", body=body)


def define_brand(**facts: object) -> Step:
    """Return the step that replaces the brand, by default activated long ago with one retailer."""
    return Step(method="POST", path=f"{ADMIN}brands", body=brand_facts(**facts))


def brand_facts(**facts: object) -> dict[str, object]:
    """Return the body that defines a brand in the admin API."""
    return {
        "brandCode": "$brandCode",
        "iysCode": "$iysCode",
        "name": "Uygunluk",
        "activatedAt": "2020-01-01 00:00:00",
        "retailers": ["$retailer"],
        "grants": [{"integratorCode": "$integratorCode"}],
        **facts,
    }


def citizen_change(**changed: object) -> Step:
    """Return the step of a citizen's change, by default an opt-out."""
    change = {"brandCode": "$brandCode", "status": "RET", **consent_key(), **changed}
    return Step(method="POST", path=f"{ADMIN}citizen", body=[change])


def inject_fault(endpoint: Endpoint, code: str, status: int) -> Step:
    """Return the step that lets the next call of `endpoint` fail with `code`."""
    body = {"operation": endpoint.fault_name, "code": code, "status": status}
    return Step(method="POST", path=f"{ADMIN}faults", body=body)


def advance_clock(seconds: float) -> Step:
    """Return the step that moves the simulator's clock."""
    return Step(method="POST", path=f"{ADMIN}clock", body={"advance": seconds})


def stop_clock() -> Step:
    """Return the step that stops the simulator's clock: all later calls are in one second."""
    return Step(method="POST", path=f"{ADMIN}clock", body={"speed": 0})


def change_settings(**settings: object) -> Step:
    """Return the step that changes settings, by their names in the admin API."""
    return Step(method="POST", path=f"{ADMIN}settings", body=settings)


def request_case(  # noqa: PLR0913 - the parts of a request
    endpoint: Endpoint,
    title: str,
    expected: Expected,
    *setup: Step,
    body: object = NO_BODY,
    path_params: Mapping[str, object] | None = None,
    query: Mapping[str, object] | None = None,
    caller: Caller = Caller.PROVIDER,
) -> Case:
    """Return the case of one request, with its setup."""
    return Case(
        endpoint=endpoint,
        title=title,
        expected=expected,
        body=body,
        path_params=path_params or {},
        query=query or {},
        caller=caller,
        setup=setup,
    )


def refusal(
    code: str,
    status: int,
    *location: object,
    index: int | None = None,
) -> Expected:
    """Return the expectation of a refusal with `code`, at `location` where one is given."""
    return Expected(status=status, code=code, location=location or None, index=index)


def success(status: int, has: Mapping[str, object] | None = None) -> Expected:
    """Return the expectation of a response that is no refusal, with the values it must have."""
    return Expected(status=status, has=has or {})
