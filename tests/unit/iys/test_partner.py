"""The lists that İYS shows to business partners."""

import httpx
import pytest

from izin.consent.model import Channel
from izin.iys.errors import MisconfiguredError, UnreadableError
from izin.iys.wire_format.account import GrantedBrands, Right
from izin.iys.wire_format.json_reader import JsonReader
from tests.unit.iys.test_client import a_client, refusing, saying

PARTNER = 700001


def an_item(code: int, **fields: object) -> dict[str, object]:
    """Return a brand of the list as İYS writes it."""
    return {
        "brandCode": str(code),
        "name": "Örnek",
        "master": True,
        "title": "ÖRNEK ANONİM ŞİRKETİ",
        "iysCode": str(code),
        "agreementControl": True,
        "viaControl": False,
        **fields,
    }


def a_list(*items: object, total: int | None = None) -> dict[str, object]:
    """Return a page of the list."""
    count = len(items) if total is None else total
    pagination = {"offset": 0, "totalCount": count, "pageSize": len(items)}
    return {"pagination": pagination, "list": list(items)}


@pytest.mark.parametrize("as_code", [str, int])
def test_granted_brand_is_read_with_codes_of_either_type(as_code: type) -> None:
    """Texts in the list of all brands, numbers in that of one provider."""
    item = an_item(0, brandCode=as_code(100001), iysCode=as_code(100009), MESAJ="write")
    (brand,) = GrantedBrands.read(JsonReader(a_list(item))).brands
    assert (brand.brand_code, brand.iys_code) == (100001, 100009)
    assert (brand.title, brand.is_master) == ("ÖRNEK ANONİM ŞİRKETİ", True)
    assert (brand.agreement_control, brand.via_control) == (True, False)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("write", Right.WRITE),
        ("WRITE", Right.WRITE),
        ("read", Right.READ),
        ("readonly", Right.READ),
        ("none", None),
        (False, None),
        (None, None),
        ("", None),
    ],
)
def test_right_that_is_not_to_write_reads(value: object, right: Right | None) -> None:
    """İYS shows no value for reading; a channel that is absent has no right."""
    (brand,) = GrantedBrands.read(JsonReader(a_list(an_item(1, MESAJ=value)))).brands
    assert brand.rights == ({} if right is None else {Channel.MESAJ: right})
    assert brand.agreement_control


async def test_list_of_brands_is_read_page_by_page() -> None:
    """Of one provider by its own path; a repeated brand counts once, and such a list is open."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.raw_path.decode()))
        offset = int(request.url.params["offset"])
        codes = range(offset, min(offset + 100, 250))
        return httpx.Response(200, json=a_list(*map(an_item, codes), total=250))

    async with a_client(answer) as client:
        found = await client.partner.brands(PARTNER)
        assert [one.brand_code for one in found.brands] == list(range(250))
        assert found.is_complete
        assert [path.partition("?")[2] for path in asked] == [
            f"offset={offset}&limit=100" for offset in (0, 100, 200)
        ]
        await client.partner.brands(PARTNER, 100009)
    assert asked[-1].startswith(f"/integrator/{PARTNER}/sps/100009?")
    repeated = a_list(an_item(1), an_item(1), total=2)
    async with a_client(saying(200, repeated)) as client:
        assert not (await client.partner.brands(PARTNER)).is_complete


async def test_unreadable_brand_costs_no_other() -> None:
    """But with it the list is not complete: no other brand is taken for lost."""
    page = a_list({"brandCode": "x"}, an_item(2), total=2)
    async with a_client(saying(200, page)) as client:
        found = await client.partner.brands(PARTNER)
    assert [one.brand_code for one in found.brands] == [2]
    assert (len(found.unreadable), found.is_complete) == (1, False)


async def test_list_that_does_not_end_is_refused() -> None:
    """A total that is never reached by full pages ends the call; empty pages end the list."""
    page = a_list(*map(an_item, range(100)), total=10**9)
    async with a_client(saying(200, page)) as client:
        with pytest.raises(UnreadableError, match="does not end"):
            await client.partner.brands(PARTNER)
    async with a_client(saying(200, a_list(total=10**9))) as client:
        assert not (await client.partner.brands(PARTNER)).is_complete


async def test_partner_subscription_is_read_and_refusals_name_who_acts() -> None:
    """Another account than a partner's is refused by H522 or H353: an operator acts."""
    shown = {"status": "ACTIVE", "expirationDate": "2026-06-21 12:24:55", "iysCode": PARTNER}
    async with a_client(saying(200, shown)) as client:
        assert (await client.partner.subscription(PARTNER)).status == "ACTIVE"
    async with a_client(refusing(403, "H353")) as client:
        with pytest.raises(MisconfiguredError):
            await client.partner.brands(PARTNER)
