"""İYS's methods, a call each (reference 2.1-2.9): values go in, values or a CallError come out.

Adding goes by the V2 methods only: an identical body sent again gets the first answer and no second
effect. No record found is not documented, so every way of saying nothing (404, 204, an empty body,
``{}``) is None.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Self, TypeVar

from izin.consent.model import Status
from izin.iys.rate_limit.pace import CallClass
from izin.iys.transport.exchange import Call, Exchange, Method
from izin.iys.wire_format.account import BrandSummary, PushRegistration, Subscription
from izin.iys.wire_format.batches import Batch, ItemResult
from izin.iys.wire_format.consents import Page, Receipt, Record, Written
from izin.iys.wire_format.json_reader import Reader, items_in, lowered, readers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from types import TracebackType

    import httpx

    from izin.consent.model import Channel, RecipientType
    from izin.iys.rate_limit.pace import Pacer
    from izin.iys.transport.circuit_breaker import Gate
    from izin.iys.wire_format.account import PushConnection
    from izin.iys.wire_format.consents import BrandPath, ConsentItem, Stream
    from izin.runtime.settings import IysSettings

T = TypeVar("T")

MAX_ITEMS = 1000
"""The most items of a batch (H091), recipients of a query and movements of a page (H507)."""


class IysClient:
    """İYS over HTTP. Use it as an async context manager; all calls share its connections."""

    def __init__(
        self,
        settings: IysSettings,
        *,
        auth: httpx.Auth,
        pacer: Pacer,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = Exchange(
            settings, auth=auth, pacer=pacer, transport=transport, clock=clock
        )

    async def __aenter__(self) -> Self:
        await self._exchange.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exchange.close()

    def gate(self, operation: str) -> Gate:
        """Return whether a call of ``operation`` may be made just now, by the method's name."""
        return self._exchange.gate(operation)

    async def add(
        self,
        brand: BrandPath,
        item: ConsentItem,
        *,
        call_class: CallClass | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> Receipt:
        """Register one consent at once (V2).

        Opt-outs leave first unless ``call_class`` says otherwise. ``permit`` is asked when the
        call's turn has come; if it says no, WithheldError is raised and nothing was sent.
        """
        usual = CallClass.RET if item.status is Status.RET else CallClass.DUE
        return await self._exchange.call(
            Call(
                method=Method.POST,
                path=f"/v2{brand}/consents",
                name="add",
                body=item.to_body(),
                writes=True,
                call_class=usual if call_class is None else call_class,
                permit=permit,
            ),
            lambda answer: Receipt.read(Reader(answer)),
        )

    async def add_batch(
        self,
        brand: BrandPath,
        items: Sequence[ConsentItem] | Written,
        *,
        call_class: CallClass = CallClass.BULK,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> Batch:
        """Hand in 1..1,000 consents of distinct keys (V2): all are taken for processing, or none.

        What became of them tells :meth:`batch_result`, no sooner than 300 s later. ``permit`` is
        asked as by :meth:`add`.
        """
        count = items.size if isinstance(items, Written) else len(items)
        if not 1 <= count <= MAX_ITEMS:
            raise ValueError(f"a batch has 1 to {MAX_ITEMS} items, not {count}")
        return await self._exchange.call(
            Call(
                method=Method.POST,
                path=f"/v2{brand}/consents/request",
                name="add_batch",
                body=items.body
                if isinstance(items, Written)
                else [item.to_body() for item in items],
                writes=True,
                call_class=call_class,
                permit=permit,
            ),
            lambda answer: Batch.read(Reader(answer)),
        )

    async def batch_result(
        self,
        brand: BrandPath,
        request_id: str,
        *,
        call_class: CallClass = CallClass.RESULTS,
    ) -> tuple[ItemResult, ...]:
        """Return what became of a batch's items (V2); none means "not yet", never "failed"."""
        return await self._exchange.call(
            Call(
                method=Method.GET,
                path=f"/v2{brand}/consents/request/{request_id}",
                name="batch_result",
                call_class=call_class,
            ),
            lambda answer: tuple(map(ItemResult.read, items_in(answer or []))),
        )

    async def status(
        self,
        brand: BrandPath,
        channel: Channel,
        recipient_type: RecipientType,
        recipient: str,
        *,
        call_class: CallClass = CallClass.RET,
    ) -> Record | None:
        """Return what İYS's register says of one key, None if nothing; 1,000 an hour (H086)."""
        return await self._exchange.call(
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
            lambda answer: Record.read(Reader(answer)) if answer else None,
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
        """Return those of 1..1,000 recipients whose record is ONAY; RET and none look alike.

        Repeated recipients are asked once, for one repetition refuses the whole call (H193).
        """
        asked = list(dict.fromkeys(lowered(recipient) for recipient in recipients))
        if not 1 <= len(asked) <= MAX_ITEMS:
            raise ValueError(f"a query has 1 to {MAX_ITEMS} recipients, not {len(asked)}")
        return await self._exchange.call(
            Call(
                method=Method.POST,
                path=f"{brand}/consents/{recipient_type}/status/{channel}",
                name="statuses",
                body={"recipients": asked},
                call_class=call_class,
            ),
            lambda answer: frozenset(map(lowered, Reader(answer).texts("list"))),
        )

    async def changes(
        self,
        brand: BrandPath,
        stream: Stream,
        after: str | None = None,
        limit: int = MAX_ITEMS,
        *,
        call_class: CallClass = CallClass.PULL,
    ) -> Page | None:
        """Return the page of movements after the cursor, oldest first; None if nothing is new."""
        query = {"source": str(stream), "limit": str(limit)}
        if after is not None:
            query["after"] = after
        return await self._exchange.call(
            Call(
                method=Method.GET,
                path=f"{brand}/consents/changes",
                name="changes",
                query=query,
                call_class=call_class,
                nothing=frozenset({HTTPStatus.NO_CONTENT}),
            ),
            lambda answer: Page.read(Reader(answer)) if answer else None,
        )

    async def register_push(self, brand: BrandPath, connections: Sequence[PushConnection]) -> None:
        """Ask İYS to push the brand's movements; it calls the addresses before it answers."""
        await self._exchange.call(
            Call(
                method=Method.POST,
                path=f"{brand}/push/registration",
                name="register_push",
                body={"connection": [connection.to_body() for connection in connections]},
                writes=True,
            ),
            _nothing,
        )

    async def push_registrations(self, brand: BrandPath) -> tuple[PushRegistration, ...]:
        """Return the brand's push connections as İYS lists them."""
        return await self._list(
            f"{brand}/push/registration", "push_registrations", PushRegistration.read
        )

    async def unregister_push(self, brand: BrandPath, connection: PushConnection) -> None:
        """Ask İYS to stop pushing to one connection."""
        await self._exchange.call(
            Call(
                method=Method.POST,
                path=f"{brand}/push/unregistration",
                name="unregister_push",
                body=connection.to_body(),
                writes=True,
            ),
            _nothing,
        )

    async def brands(self, iys_code: int) -> tuple[BrandSummary, ...]:
        """Return the provider's brands."""
        return await self._list(f"/sps/{iys_code}/brands", "brands", BrandSummary.read)

    async def subscription(self, iys_code: int) -> Subscription:
        """Return the provider's subscription."""
        return await self._exchange.call(
            Call(method=Method.GET, path=f"/sps/{iys_code}/subscription", name="subscription"),
            lambda answer: Subscription.read(Reader(answer)),
        )

    async def _list(self, path: str, name: str, read: Callable[[Reader], T]) -> tuple[T, ...]:
        return await self._exchange.call(
            Call(method=Method.GET, path=path, name=name),
            lambda answer: tuple(read(item) for item in readers(answer or [])),
        )


def _nothing(_answer: object) -> None:
    """Any answer says yes; its Turkish sentence says no more."""
