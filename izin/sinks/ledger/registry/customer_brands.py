"""The brands that commands name: one, or those of one customer, of whom none other is touched."""

from collections.abc import Collection

from izin.consent.errors import SourceError
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import customers
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import UnregisteredBrandError


class OtherBrandsError(SourceError):
    """Brands that are not those of a customer, or not those that were named."""

    def __init__(self, customer_id: str, codes: Collection[int]) -> None:
        named = ", ".join(map(str, sorted(codes)))
        super().__init__(
            f"not among the brands of customer {customer_id}, or not named with --brand: {named}; "
            f"its brands: izin customers show {customer_id}"
        )
        self.codes = frozenset(codes)


async def registered_brand(ledger: Ledger, brand_code: int) -> Brand:
    """Return a brand.

    Raises:
        UnregisteredBrandError: it is not registered.
    """
    async with ledger.transaction() as connection:
        found = (await registry.of_codes(connection, [brand_code])).get(brand_code)
    if found is None:
        raise UnregisteredBrandError(brand_code)
    return found


async def brands_of(
    ledger: Ledger, customer_id: str, only: Collection[int] = ()
) -> dict[int, Brand]:
    """Return the brands of a customer by code; ``only`` those, where any are named.

    Raises:
        UnknownCustomerError: the customer is not registered.
        OtherBrandsError: one of ``only`` is not its brand.
    """
    async with ledger.transaction() as connection:
        await customers.require(connection, {customer_id})
    found = {
        one.brand_code: one
        for one in await registry.every(ledger)
        if one.customer_id == customer_id
    }
    if others := set(only) - found.keys():
        raise OtherBrandsError(customer_id, others)
    return {code: one for code, one in found.items() if not only or code in only}
