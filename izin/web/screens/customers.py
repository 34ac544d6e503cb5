"""The customers and their brands: onboarding step by step, what each brand may write at İYS, and
what holds its records back.
"""

import re

from starlette.responses import Response

from izin.consent import Channel
from izin.ledger import brands as brand_registry, suspensions as stored
from izin.ledger.record import Brand
from izin.ledger.registry import application_items, customers as registry
from izin.ledger.registry.application_items import (
    DAYS,
    OF_BRANDS,
    ApplicationItem,
    NewItem,
    SignatureKind,
)
from izin.ledger.registry.customers import Customer, CustomerDetails, PersonKind
from izin.onboarding.pack import MERSIS, page_of
from izin.views.customers import (
    application_pack,
    brand_plan,
    customer_state,
    known_customers,
    rights_changes,
    shared_numbers,
    suspended_and_counted,
)
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit, forbidden

LIST = "/customers"
ONE = "/customers/{customer_id}"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BRAND = re.compile(r"[1-9][0-9]{0,8}")


async def show(visit: Visit) -> Response:
    """Show the customers of the account, with their brands."""
    return visit.page(
        "customers.html",
        known=await known_customers(visit.ledger),
        kinds=tuple(PersonKind),
        may_add=visit.may(Permit.ONBOARD) and visit.account.customers is None,
    )


async def add(visit: Visit) -> Response:
    """Register a customer: only who sees all of them may, for it is nobody's yet."""
    if visit.account.customers is not None:
        raise forbidden()
    customer_id, name = visit.required("customer_id", "name")
    if _ID.fullmatch(customer_id) is None:
        raise RefusedVisitError(
            422, "An id has up to 64 letters, digits, dots, hyphens and underscores."
        )
    if customer_id in {one.customer_id for one in visit.customers}:
        raise RefusedVisitError(409, "There is a customer of this id; choose another.")
    _, after = await registry.add(
        *(visit.ledger, customer_id, name),
        details=_details(visit),
        by=visit.account.name,
        now=visit.now,
    )
    return _saved(visit, after)


async def one(visit: Visit) -> Response:
    """Show a customer with its brands, and how far its onboarding is."""
    found = await customer_state(visit.ledger, _customer(visit), now=visit.now)
    return visit.page(
        "customer.html",
        found=found,
        one=found.customer,
        kinds=tuple(PersonKind),
        channels=tuple(Channel),
        days=DAYS,
        signatures=tuple(SignatureKind),
        mersis=MERSIS,
        signature=ApplicationItem.SIGNATURE,
        may_act=visit.may(Permit.ONBOARD) and found.customer.offboarded_at is None,
    )


async def change(visit: Visit) -> Response:
    """Change what is known of a customer; an empty number takes it away."""
    _, after = await registry.change(
        visit.ledger, _customer(visit), _details(visit), by=visit.account.name, now=visit.now
    )
    return _saved(visit, after)


async def items(visit: Visit) -> Response:
    """Note what a customer gives for its application to İYS."""
    customer_id = _customer(visit)
    given = [
        _item(*name.partition(":")[::2], value)
        for name, value in visit.form.starting("item.").items()
    ]
    await application_items.put(
        visit.ledger, customer_id, given, by=visit.account.name, now=visit.now
    )
    return _back(visit, customer_id, "What the customer gives is saved.")


async def pack(visit: Visit) -> Response:
    """Give the application pack: a page to print, with every address counted now."""
    found = await application_pack(visit.ledger, _customer(visit), None, now=visit.now)
    return visit.download("basvuru.html", page_of(found), "text/html; charset=utf-8")


async def brand(visit: Visit) -> Response:
    """Register a brand, or change one: where that concerns its records, the plan is shown first."""
    customer_id, form = _customer(visit), visit.form
    (name,), code, iys_code = (
        visit.required("name"),
        visit.number("brand"),
        visit.number("iys_code"),
    )
    given = Brand(
        brand_code=code,
        iys_code=iys_code,
        customer_id=customer_id,
        name=name,
        activated_at=visit.instant("activated_at"),
        loading_deadline=visit.instant("loading_deadline"),
        status="stopped" if form.get("stopped") else "active",
        account=form.get("account") or None,
        egress_address=form.get("address") or None,
    )
    await _need_own(visit, given)
    plan = await brand_plan(visit.ledger, given)
    if plan.changes and form.get("planned") != plan.digest:
        return visit.page(
            "brand_plan.html", plan=plan, given=given, is_again=bool(form.get("planned"))
        )
    messages = visit.console.topic_messages
    await brand_registry.upsert(visit.ledger, messages, given, by=visit.account.name, now=visit.now)
    return _back(visit, customer_id, "The brand is saved.")


async def rights(visit: Visit) -> Response:
    """Set which channels a brand may write at İYS, once somebody has seen what that changes."""
    customer_id, ledger, form = _customer(visit), visit.ledger, visit.form
    code = await _brand_of(visit, customer_id)
    channels = [channel for channel in Channel if channel in form.every("type")]
    found, counts = await suspended_and_counted(ledger, code)
    lines = rights_changes(code, found, channels, counts)
    before = " ".join(stored.rights(found)) or "none"
    if lines and form.get("planned") != before:
        return visit.page(
            "rights_plan.html",
            customer_id=customer_id,
            code=code,
            lines=lines,
            channels=channels,
            planned=before,
            is_again=bool(form.get("planned")),
        )
    if lines:
        await stored.set_rights(ledger, code, channels, by=visit.account.name, now=visit.now)
    return _back(visit, customer_id, "The brand has these rights.")


async def retry(visit: Visit) -> Response:
    """Send one record of each suspension of a brand now, after its cause was corrected at İYS."""
    customer_id = _customer(visit)
    code = await _brand_of(visit, customer_id)
    count = await stored.recheck_now(visit.ledger, code, by=visit.account.name, now=visit.now)
    if not count:
        raise RefusedVisitError(
            409, "Nothing of this brand can be tried: others have to act first."
        )
    return _back(
        visit, customer_id, "One record of each suspension is sent now; what İYS takes ends it."
    )


def _details(visit: Visit) -> CustomerDetails:
    form, sees_all = visit.form, visit.account.customers is None
    return CustomerDetails(
        name=form.get("name") or None,
        kind=visit.chosen("kind", PersonKind) if form.get("kind") else None,
        mersis=form.get("mersis"),
        vkn=form.get("vkn"),
        # Whose provider it is says which offered brands are its own.
        iys_code=visit.number("iys_code") if sees_all else None,
    )


def _item(name: str, brand_code: str, value: str) -> NewItem:
    is_of_brand = _BRAND.fullmatch(brand_code) is not None
    if name not in set(ApplicationItem) or (name in OF_BRANDS) is not is_of_brand:
        raise forbidden()
    return NewItem(item=ApplicationItem(name), brand_code=int(brand_code or 0), value=value)


def _customer(visit: Visit) -> str:
    """Return the customer of the path; another account's is refused as one that is not."""
    named: str = visit.request.path_params["customer_id"]
    if named not in {one.customer_id for one in visit.customers}:
        raise forbidden()
    return named


async def _brand_of(visit: Visit, customer_id: str) -> int:
    """Return the brand of the form, which must be the customer's."""
    code = visit.number("brand")
    await brand_registry.brands_of(visit.ledger, customer_id, [code])
    return code


async def _need_own(visit: Visit, given: Brand) -> None:
    """Raise RefusedVisitError where the account is limited to customers, and the brand neither is
    the customer's nor listed by İYS for its provider: another customer's records may be of it.
    """
    if not (given.brand_code and given.iys_code):
        raise RefusedVisitError(422, "A brand has a code and an İYS code, both in digits.")
    if visit.account.customers is not None:
        state = await customer_state(visit.ledger, given.customer_id, now=visit.now)
        known = {(one.brand.brand_code, one.brand.iys_code) for one in state.brands}
        known |= {(one.brand_code, one.iys_code) for one in state.offers}
        if (given.brand_code, given.iys_code) not in known:
            raise forbidden()


def _saved(visit: Visit, after: Customer) -> Response:
    visit.console.kept.forget("customers")
    same = [
        visit.text(
            "Its %(name)s is that of %(customers)s, too: make one company one customer.",
            name=visit.text(name),
            customers=", ".join(others),
        )
        for name, others in shared_numbers(after, visit.customers)
    ]
    said = " ".join([visit.text("The customer is saved."), *same])
    return visit.redirect(f"{LIST}/{after.customer_id}", said=said, customer=after.customer_id)


def _back(visit: Visit, customer_id: str, said: str) -> Response:
    return visit.redirect(f"{LIST}/{customer_id}", said=visit.text(said), customer=customer_id)


SCREENS = (
    Screen(path=LIST, run=show, right=Permit.SEE),
    Screen(path=LIST, run=add, right=Permit.ONBOARD, method="POST"),
    Screen(path=ONE, run=one, right=Permit.SEE),
    Screen(path=f"{ONE}/details", run=change, right=Permit.ONBOARD, method="POST"),
    Screen(path=f"{ONE}/items", run=items, right=Permit.ONBOARD, method="POST"),
    Screen(path=f"{ONE}/pack", run=pack, right=Permit.ONBOARD, method="POST"),
    Screen(path=f"{ONE}/brands", run=brand, right=Permit.ONBOARD, method="POST"),
    Screen(path=f"{ONE}/rights", run=rights, right=Permit.ONBOARD, method="POST"),
    Screen(path=f"{ONE}/retry", run=retry, right=Permit.ONBOARD, method="POST"),
)
