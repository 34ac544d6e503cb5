"""API keys at the gate: who may ask about what."""

import pytest

from izin.ledger.history import movements_of, receipt_key
from izin.schemas.api_keys import Scope
from izin.schemas.may_send_api import PATH
from tests.support.api_keys import API_KEY, AUTHORIZATION, an_api_key, known
from tests.support.builders import BRAND, CUSTOMER
from tests.unit.gate.conftest import SENDER, a_question, serving
from tests.unit.gate.fakes import FOREIGN_BRAND, a_standing

OPEN = ("/health/live", "/health/ready")
PROBLEM = "application/problem+json"


@pytest.mark.parametrize("customer", [CUSTOMER, "beta"])
@pytest.mark.parametrize("endpoint", [PATH, *OPEN])
@pytest.mark.parametrize("scope", [*Scope, None])
async def test_key_may_ask_what_its_scope_and_customer_say(
    scope: Scope | None, endpoint: str, customer: str
):
    """Every scope, and no key, at every endpoint, for the key's own customer and for another."""
    key = an_api_key(scopes=frozenset({str(scope)}), customers=frozenset({customer}))
    async with serving(known(key)) as api:
        if scope is None:
            del api.client.headers["Authorization"]
        api.state.put(a_standing())
        if endpoint in OPEN:
            assert (await api.client.get(endpoint)).status_code == 200
            return
        response = await api.ask()
        match scope:
            case None:
                assert response.status_code == 401
            case Scope.ASK:
                (one,) = response.json()["verdicts"]
                expected = (True, "registered") if customer == CUSTOMER else (False, "unknown")
                assert (one["may_send"], one["reason"]) == expected
            case _:
                assert response.status_code == 403
                assert f"lacks the scope {Scope.ASK}" in response.json()["detail"]
        if response.status_code != 200:
            assert response.headers["content-type"] == PROBLEM
            assert API_KEY not in response.text


@pytest.mark.parametrize(
    ("cut", "is_known"),
    [
        ({}, True),
        ({"brands": frozenset({BRAND})}, True),
        ({"brands": frozenset({BRAND + 1})}, False),
        ({"channels": frozenset({"MESAJ"})}, True),
        ({"channels": frozenset({"EPOSTA"})}, False),
        ({"customers": frozenset({"beta", CUSTOMER})}, True),
    ],
)
async def test_key_asks_about_what_it_is_cut_to(cut: dict[str, object], is_known: bool):
    """Customers, brands and channels."""
    async with serving(known(an_api_key(scopes=SENDER.scopes, **cut))) as api:
        api.state.put(a_standing())
        assert (await api.said())[1] == ("registered" if is_known else "unknown")


async def test_key_in_the_query_or_the_body_is_no_key():
    """It would be in the logs of every proxy."""
    async with serving() as api:
        del api.client.headers["Authorization"]
        text = AUTHORIZATION["Authorization"]
        response = await api.client.post(PATH, json=a_question(), params={"api_key": text})
        assert response.status_code == 401
        assert (await api.ask(api_key=text)).status_code == 401


@pytest.mark.parametrize("brand_code", [FOREIGN_BRAND, 999_999])
async def test_receipt_of_a_brand_outside_the_key_is_the_askers_own(brand_code: int):
    """Nothing of it reaches the history of the brand's customer, nor names whom it was about."""
    async with serving(known(SENDER)) as api:
        await api.ask(brand_code=brand_code, receipt="decision", campaign="spring-sale")
        (written,) = api.receipts.written
        assert (written["customer_id"], written["recipient"]) == (CUSTOMER, None)
        assert (written["may_send"], written["reason"]) == (False, "unknown")
        (whole, own) = movements_of(written)
        assert {whole.key, own.key} == {receipt_key(written["receipt_id"])}
        assert {whole.customer_id, own.customer_id} == {CUSTOMER}
