"""The client of İYS: one method for each of its calls (reference 2.1-2.9, 2.12, 2.13).

Every method returns a typed value or raises a CallError. Only the V2 methods are used to add
consents: sending an identical body again returns the first response without a second effect. How
İYS says "no record" is not documented, so 404, 204, an empty body and ``{}`` all become None.

The reports of a day (mutabakat) go back seven days (H502); business partners need
``agreementControl`` for them (H353). What is granted to a partner only its own account may ask
(H363, H522), and İYS's sandbox has no such lists.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from http import HTTPStatus
from typing import Final, TypeVar

from izin.consent import Channel, RecipientType, Status
from izin.iys.errors import UnreadableError
from izin.iys.exchange import Call, Exchange, Method
from izin.iys.rate_limit import CallClass
from izin.iys.register_calls import RegisterCalls
from izin.iys.retailer_calls import RetailerCalls
from izin.iys.via_calls import ViaCalls
from izin.iys.wire_format import (
    AcceptedBatch,
    BatchItemResult,
    BrandPath,
    BrandSummary,
    ConsentItem,
    DayAgreement,
    DayCount,
    GrantedBrand,
    GrantedBrands,
    JsonReader,
    MovementPage,
    PushConnection,
    PushRegistration,
    Receipt,
    RegisterRecord,
    SerializedItems,
    Stream,
    Subscription,
    UnreadableItem,
    lower_case_email,
    readers,
)

_NONE: Final = frozenset({HTTPStatus.NO_CONTENT})
_LARGEST_TIMESTAMP: Final = 256 * 1024
_PAGE: Final = 100
"""The most brands of a page (H186)."""
_MOST: Final = 100_000
"""More brands than any partner has: a list that does not end is refused."""
T = TypeVar("T")
MAX_ITEMS = 1000
"""The most items of a batch (H091), recipients of a query, movements of a page (H507)."""


@dataclass(frozen=True, slots=True)
class DayReports:
    """The calls about the day of a brand."""

    exchange: Exchange

    async def counts(
        self, brand: BrandPath, day: date, recipient_type: RecipientType
    ) -> tuple[DayCount, ...]:
        """Return how many movements İYS counts for a day (Turkish time)."""
        return await self.exchange.call(
            Call(
                method=Method.GET,
                path=f"{brand}/changes/{day}/recipients/{recipient_type}",
                name="day_counts",
                nothing=_NONE,
            ),
            lambda answer: DayCount.read_all(JsonReader(answer)) if answer else (),
        )

    async def agreement(self, brand: BrandPath, day: date) -> DayAgreement | None:
        """Return the hash of a day's file and how far İYS is with it; None: the day has none."""
        return await self.exchange.call(
            Call(
                method=Method.GET,
                path=f"{brand}/agreements/{day}",
                name="day_agreement",
                nothing=_NONE,
            ),
            lambda answer: DayAgreement.read(JsonReader(answer)) if answer else None,
        )

    async def agree(self, brand: BrandPath, day: date) -> bool:
        """Declare that we agree with a day's file, for good: İYS accepts no other value (H512).

        False: the day has no movements. İYS compares nothing itself.
        """
        return await self.exchange.call(
            Call(
                method=Method.PUT,
                path=f"{brand}/agreements/{day}",
                name="agree",
                body={"agreementStatus": True},
                writes=True,
                nothing=_NONE,
            ),
            lambda answer: answer is not None,
        )

    async def timestamp(self, brand: BrandPath, day: date) -> bytes | None:
        """Return the time-stamp reply (RFC 3161, DER) over a day's hash; None: there is none.

        Raises:
            UnreadableError: it is longer than any such reply.
        """
        content = bytearray()

        def add(chunk: bytes) -> None:
            content.extend(chunk)
            if len(content) > _LARGEST_TIMESTAMP:
                raise UnreadableError(f"a time stamp of more than {_LARGEST_TIMESTAMP} bytes")

        path = f"{brand}/agreements/{day}/timestamp"
        call = Call(method=Method.GET, path=path, name="day_timestamp", nothing=_NONE)
        return bytes(content) if await self.exchange.download(call, add) else None

    async def download(self, brand: BrandPath, day: date, write: Callable[[bytes], object]) -> bool:
        """Pass a day's file (CSV) to ``write`` in chunks; False: the day has none.

        After an error, what was written is incomplete.
        """
        path = f"{brand}/changes/{day}/file"
        call = Call(method=Method.GET, path=path, name="day_file", nothing=_NONE)
        return await self.exchange.download(call, write)


@dataclass(frozen=True, slots=True)
class PartnerCalls:
    """The calls that only a business partner may make."""

    exchange: Exchange

    async def brands(
        self,
        integrator_code: int,
        iys_code: int | None = None,
        *,
        turn: Callable[[], Awaitable[object]] | None = None,
    ) -> GrantedBrands:
        """Return the brands granted to the partner, of one provider where ``iys_code`` is given, in
        İYS's order, read page by page; ``turn`` is awaited before each page.

        A list that changes while it is read may lack a brand; it is then not complete.

        Raises:
            UnreadableError: the list does not end.
        """
        path = f"/integrator/{integrator_code}/sps"
        name = "granted_brands" if iys_code is None else "granted_brands_of"
        if iys_code is not None:
            path = f"{path}/{iys_code}"
        found: dict[int, GrantedBrand] = {}
        unreadable: list[UnreadableItem] = []
        offset = 0
        while offset < _MOST:
            if turn is not None:
                await turn()
            page = await self._page(path, name, offset)
            found |= {brand.brand_code: brand for brand in page.brands}
            unreadable += page.unreadable
            offset += page.size
            if not page.size or offset >= page.total:
                return GrantedBrands(
                    brands=tuple(found.values()), unreadable=tuple(unreadable), total=page.total
                )
        raise UnreadableError("a list of the partner's brands that does not end")

    async def subscription(self, integrator_code: int) -> Subscription:
        """Return the partner's own subscription."""
        return await self.exchange.call(
            Call(
                method=Method.GET,
                path=f"/integrator/{integrator_code}/subscription",
                name="partner_subscription",
            ),
            lambda answer: Subscription.read(JsonReader(answer)),
        )

    async def _page(self, path: str, name: str, offset: int) -> GrantedBrands:
        return await self.exchange.call(
            Call(
                method=Method.GET,
                path=path,
                name=name,
                query={"offset": str(offset), "limit": str(_PAGE)},
            ),
            lambda answer: GrantedBrands.read(JsonReader(answer)),
        )


class IysClient(Exchange):
    """A client of İYS. Use it as an async context manager; all calls share its connections."""

    @cached_property
    def reports(self) -> DayReports:
        """The calls about the day of a brand."""
        return DayReports(self)

    @cached_property
    def partner(self) -> PartnerCalls:
        """The calls that only a business partner may make."""
        return PartnerCalls(self)

    @cached_property
    def retailers(self) -> RetailerCalls:
        """The calls about retailers."""
        return RetailerCalls(self)

    @cached_property
    def register(self) -> RegisterCalls:
        """The calls about single recipients in İYS's register."""
        return RegisterCalls(self)

    @cached_property
    def via(self) -> ViaCalls:
        """The calls by which İYS asks somebody for consent (ViA)."""
        return ViaCalls(self)

    async def add(
        self,
        brand: BrandPath,
        item: ConsentItem,
        *,
        call_class: CallClass | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> Receipt:
        """Register one consent synchronously (V2).

        Opt-outs are sent first unless ``call_class`` says otherwise. ``permit`` is awaited just
        before the call is written, at each attempt.

        Raises:
            WithheldError: ``permit`` returned False; nothing was sent.
        """
        usual = CallClass.RET if item.status is Status.RET else CallClass.DUE
        return await self.call(
            Call(
                method=Method.POST,
                path=f"/v2{brand}/consents",
                name="add",
                body=item.to_body(),
                writes=True,
                call_class=usual if call_class is None else call_class,
                permit=permit,
            ),
            lambda answer: Receipt.read(JsonReader(answer)),
        )

    async def add_batch(
        self,
        brand: BrandPath,
        items: Sequence[ConsentItem] | SerializedItems,
        *,
        call_class: CallClass = CallClass.BULK,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> AcceptedBatch:
        """Submit 1 to 1,000 consents of distinct keys (V2); all are accepted, or none.

        Their results are available from :meth:`batch_result`, no sooner than 300 s later.
        ``permit`` is used as by :meth:`add`.
        """
        count = items.size if isinstance(items, SerializedItems) else len(items)
        if not 1 <= count <= MAX_ITEMS:
            raise ValueError(f"a batch has 1 to {MAX_ITEMS} items, not {count}")
        return await self.call(
            Call(
                method=Method.POST,
                path=f"/v2{brand}/consents/request",
                name="add_batch",
                body=items.body
                if isinstance(items, SerializedItems)
                else [item.to_body() for item in items],
                writes=True,
                call_class=call_class,
                permit=permit,
            ),
            lambda answer: AcceptedBatch.read(JsonReader(answer)),
        )

    async def batch_result(
        self,
        brand: BrandPath,
        request_id: str,
        *,
        call_class: CallClass = CallClass.RESULTS,
    ) -> tuple[BatchItemResult, ...]:
        """Return the results of a batch (V2); empty means "not yet", never "failed"."""
        return await self.call(
            Call(
                method=Method.GET,
                path=f"/v2{brand}/consents/request/{request_id}",
                name="batch_result",
                call_class=call_class,
            ),
            lambda answer: BatchItemResult.read_all(answer or []),
        )

    async def status(
        self,
        brand: BrandPath,
        channel: Channel,
        recipient_type: RecipientType,
        recipient: str,
        *,
        call_class: CallClass = CallClass.RET,
    ) -> RegisterRecord | None:
        """Return the record of one key; None if İYS has none. Limit: 1,000 an hour (H086)."""
        return await self.call(
            Call(
                method=Method.POST,
                path=f"{brand}/consents/status",
                name="status",
                body={
                    "recipient": recipient,
                    "recipientType": str(recipient_type),
                    "type": str(channel),
                },
                call_class=call_class,
                nothing=frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.NO_CONTENT}),
            ),
            lambda answer: RegisterRecord.read(JsonReader(answer)) if answer else None,
        )

    async def statuses(
        self,
        brand: BrandPath,
        channel: Channel,
        recipient_type: RecipientType,
        recipients: Collection[str],
        *,
        call_class: CallClass = CallClass.SWEEP,
    ) -> frozenset[str]:
        """Return those of 1 to 1,000 recipients whose record is ONAY; RET or no record: missing.

        Duplicates are removed, for İYS refuses the whole call because of one (H193).
        """
        unique = list(dict.fromkeys(lower_case_email(recipient) for recipient in recipients))
        if not 1 <= len(unique) <= MAX_ITEMS:
            raise ValueError(f"a query has 1 to {MAX_ITEMS} recipients, not {len(unique)}")
        return await self.call(
            Call(
                method=Method.POST,
                path=f"{brand}/consents/{recipient_type}/status/{channel}",
                name="statuses",
                body={"recipients": unique},
                call_class=call_class,
            ),
            lambda answer: frozenset(map(lower_case_email, JsonReader(answer).texts("list"))),
        )

    async def changes(
        self,
        brand: BrandPath,
        stream: Stream,
        after: str | None = None,
        limit: int = MAX_ITEMS,
        *,
        call_class: CallClass = CallClass.PULL,
    ) -> MovementPage | None:
        """Return the page of movements after the cursor ``after``; None if nothing is new."""
        query = {"source": str(stream), "limit": str(limit)}
        if after is not None:
            query["after"] = after
        return await self.call(
            Call(
                method=Method.GET,
                path=f"{brand}/consents/changes",
                name="changes",
                query=query,
                call_class=call_class,
                nothing=frozenset({HTTPStatus.NO_CONTENT}),
            ),
            lambda answer: MovementPage.read(JsonReader(answer)) if answer else None,
        )

    async def register_push(self, brand: BrandPath, connections: Sequence[PushConnection]) -> None:
        """Register push connections; İYS calls their URLs before it answers."""
        await self.call(
            Call(
                method=Method.POST,
                path=f"{brand}/push/registration",
                name="register_push",
                body={"connection": [connection.to_body() for connection in connections]},
                writes=True,
            ),
            lambda _sentence: None,
        )

    async def push_registrations(self, brand: BrandPath) -> tuple[PushRegistration, ...]:
        """Return the push connections of the brand."""
        return await self._list(
            f"{brand}/push/registration", "push_registrations", PushRegistration.read
        )

    async def unregister_push(self, brand: BrandPath, connection: PushConnection) -> None:
        """Remove a push connection."""
        await self.call(
            Call(
                method=Method.POST,
                path=f"{brand}/push/unregistration",
                name="unregister_push",
                body=connection.to_body(),
                writes=True,
            ),
            lambda _sentence: None,
        )

    async def brands(self, iys_code: int) -> tuple[BrandSummary, ...]:
        """Return the provider's brands."""
        return await self._list(f"/sps/{iys_code}/brands", "brands", BrandSummary.read)

    async def subscription(self, iys_code: int) -> Subscription:
        """Return the provider's subscription."""
        return await self.call(
            Call(method=Method.GET, path=f"/sps/{iys_code}/subscription", name="subscription"),
            lambda answer: Subscription.read(JsonReader(answer)),
        )

    async def _list(self, path: str, name: str, read: Callable[[JsonReader], T]) -> tuple[T, ...]:
        return await self.call(
            Call(method=Method.GET, path=path, name=name),
            lambda answer: tuple(read(item) for item in readers(answer or [])),
        )
