"""The words cases are written in: what is set up before, what is sent, what must be answered."""

from collections.abc import Mapping

from iys_simulator.conformance.case import (
    ADMIN,
    LEFT_OUT,
    NOTHING,
    Case,
    Expected,
    Operation,
    Speaker,
    Step,
)

CONSENTS = "/sps/$iysCode/brands/$brandCode/consents"


def consent(**changed: object) -> dict[str, object]:
    """Give a consent that is right, with `changed` fields; `LEFT_OUT` leaves one out."""
    item = {
        "type": "MESAJ",
        "source": "HS_WEB",
        "recipient": "$phone",
        "status": "ONAY",
        "consentDate": "$yesterday",
        "recipientType": "BIREYSEL",
        **changed,
    }
    return sent(item)


def address(**changed: object) -> dict[str, object]:
    """Give what names one consent of an address, with `changed` fields."""
    return sent({"recipient": "$phone", "recipientType": "BIREYSEL", "type": "MESAJ", **changed})


def sent(item: dict[str, object]) -> dict[str, object]:
    """Give `item` without what is left out."""
    return {name: value for name, value in item.items() if value is not LEFT_OUT}


def saved(**changed: object) -> Step:
    """Have a consent registered."""
    return Step(method="POST", path=CONSENTS, body=consent(**changed))


def batch(*items: object, version: str = "") -> Step:
    """Have a batch taken in; its `requestId` is kept."""
    return Step(
        method="POST",
        path=f"{version}{CONSENTS}/request",
        body=list(items),
        keeps={"requestId": "requestId"},
    )


def account(**facts: object) -> Step:
    """Define the provider's account and subscription anew, with `facts`."""
    body = {"username": "$username", "password": "$password", "iysCode": "$iysCode", **facts}
    return Step(method="POST", path=f"{ADMIN}accounts", body=body)


def partner(**facts: object) -> Step:
    """Define the partner's account and subscription anew, with `facts`."""
    body = {
        "username": "$partnerName",
        "password": "$password",
        "iysCode": "$integratorCode",
        "isIntegrator": True,
        **facts,
    }
    return Step(method="POST", path=f"{ADMIN}accounts", body=body)


def brand(**facts: object) -> Step:
    """Define the brand anew, with `facts`: by default long activated, with one retailer."""
    return Step(method="POST", path=f"{ADMIN}brands", body=brand_facts(**facts))


def brand_facts(**facts: object) -> dict[str, object]:
    """Give what the admin API is told of a brand."""
    return {
        "brandCode": "$brandCode",
        "iysCode": "$iysCode",
        "name": "Uygunluk",
        "activatedAt": "2020-01-01 00:00:00",
        "retailers": ["$retailer"],
        "grants": [{"integratorCode": "$integratorCode"}],
        **facts,
    }


def citizen(**changed: object) -> Step:
    """Let a citizen reject, or do what `changed` says."""
    act = {"brandCode": "$brandCode", "status": "RET", **address(), **changed}
    return Step(method="POST", path=f"{ADMIN}citizen", body=[act])


def weather(operation: Operation, code: str, status: int) -> Step:
    """Let the next call of `operation` fail with `code`."""
    body = {"operation": operation.weather, "code": code, "status": status}
    return Step(method="POST", path=f"{ADMIN}weather", body=body)


def later(seconds: float) -> Step:
    """Move the twin's time."""
    return Step(method="POST", path=f"{ADMIN}clock", body={"advance": seconds})


def stopped() -> Step:
    """Stop the twin's time: all that follows happens in one second."""
    return Step(method="POST", path=f"{ADMIN}clock", body={"speed": 0})


def switched(**settings: object) -> Step:
    """Change settings of the twin, by their names in the admin API."""
    return Step(method="POST", path=f"{ADMIN}settings", body=settings)


def asking(  # noqa: PLR0913 - so many parts a request has
    operation: Operation,
    what: str,
    expected: Expected,
    *given: Step,
    body: object = NOTHING,
    at: Mapping[str, object] | None = None,
    query: Mapping[str, object] | None = None,
    speaker: Speaker = Speaker.PROVIDER,
) -> Case:
    """Give the case of one request, with what is `given` before it."""
    return Case(
        operation=operation,
        what=what,
        expected=expected,
        body=body,
        at=at or {},
        query=query or {},
        speaker=speaker,
        given=given,
    )


def refuses(
    code: str,
    status: int,
    *location: object,
    index: int | None = None,
) -> Expected:
    """Give a refusal with `code`, at `location` where one is given."""
    return Expected(status=status, code=code, location=location or None, index=index)


def answers(status: int, has: Mapping[str, object] | None = None) -> Expected:
    """Give an answer that is no refusal, with the values it must have."""
    return Expected(status=status, has=has or {})
