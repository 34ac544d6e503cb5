"""``/v1/opt-out/{link}`` and ``/v1/confirm/{link}``: links that act for the person who has them.

A GET shows a page, for mail programs and scanners open links by themselves; only a POST acts, by
the button of the page or by the mail program (RFC 8058). What the link means is sealed in it.
"""

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from izin.consent import Channel, Status
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.server import Intake
from izin.producers.intake.sources import acting, delivery_of, key_of, payload_of
from izin.producers.links import BrokenLinkError, LinkKeys, OptOutLink
from izin.producers.links.pages import (
    CONFIRMED,
    GONE,
    HEADERS,
    LATER,
    ask_confirmation,
    ask_opt_out,
    opted_out,
    page,
)
from izin.producers.links.sealed import OPT_OUT
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import InputRecord
from izin.producers.sources.payloads import PayloadError
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger

ORIGIN: Final = "links"
CONFIRM: Final = "/v1/confirm/"
OPT_OUT_ROUTE: Final = f"{OPT_OUT}{{link}}"
CONFIRM_ROUTE: Final = f"{CONFIRM}{{link}}"
_OF_PERSON: Final = frozenset({"ip", "user_agent"})
_WHOLE_BRAND: Final = "brand"
_SOURCES: Final = {Channel.EPOSTA: "HS_EPOSTA", Channel.MESAJ: "HS_MESAJ"}
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PendingConsent:
    """What somebody has entered into a form, until they confirm it: sealed in a link alone."""

    origin: str
    records: Sequence[InputRecord]

    def sealed(self, keys: LinkKeys, days: int, now: datetime) -> str:
        """Return it as a part of a path, which is of use for so many ``days`` from ``now`` on."""
        return keys.seal(
            {
                "o": self.origin,
                "d": days,
                "v": [dict(record.values) for record in self.records],
                "e": dict(self.records[0].evidence),
            },
            now,
        )


@dataclass(frozen=True)
class LinkIntake:
    """The endpoints, in the process of an ``intake``."""

    intake: Intake
    keys: LinkKeys
    directory: BrandDirectory

    @property
    def routes(self) -> list[Route]:
        """The routes of links."""
        return [
            Route(OPT_OUT_ROUTE, self.opt_out, methods=["GET", "POST"]),
            Route(CONFIRM_ROUTE, self.confirm, methods=["GET", "POST"]),
        ]

    async def opt_out(self, request: Request) -> Response:
        """Show what the link opts out of; opt out, where it is posted."""
        return await self._shown(self._opt_out(request))

    async def confirm(self, request: Request) -> Response:
        """Show what the link confirms; publish it, where it is posted."""
        return await self._shown(self._confirm(request))

    async def _shown(self, work: Awaitable[str]) -> Response:

        async def respond() -> Response:
            return HTMLResponse(await work, headers=HEADERS)

        try:
            response = await self.intake.answer(respond())
        except BrokenLinkError:
            response = HTMLResponse(page(GONE), HTTPStatus.NOT_FOUND, HEADERS)
        if response.status_code == HTTPStatus.OK:
            return response
        said = LATER if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else GONE
        return HTMLResponse(page(said), response.status_code, HEADERS)

    async def _opt_out(self, request: Request) -> str:
        sealed = request.path_params["link"]
        link = OptOutLink.opened(self.keys, sealed)
        brand = self._brand(link.brand_code)
        if request.method != "POST":
            return ask_opt_out(brand, link.channel, has_others=len(link.recipients) > 1)
        delivery, form = await delivery_of(request), None
        with suppress(PayloadError):  # whatever is posted, somebody opts out
            form = await payload_of(delivery)
        scope = form.get("scope") if isinstance(form, dict) else None
        channels = list(link.recipients) if scope == _WHOLE_BRAND else [link.channel]
        values: list[dict[Field, str]] = [
            {
                Field.BRAND_CODE: str(link.brand_code),
                Field.TYPE: channel,
                Field.RECIPIENT: link.recipients[channel],
                Field.RECIPIENT_TYPE: link.recipient_type,
                Field.STATUS: Status.RET,
                Field.SOURCE: _SOURCES.get(link.channel, "HS_WEB"),
            }
            for channel in channels
        ]
        await self._publish(request, values, {}, ORIGIN)
        return opted_out(brand)

    async def _confirm(self, request: Request) -> str:
        sealed = request.path_params["link"]
        found = self.keys.open(sealed)
        entered_at = self.keys.sealed_at(sealed)
        if "v" not in found or self.intake.now() > entered_at + timedelta(days=found["d"]):
            raise BrokenLinkError
        # It counts from when it was entered: whoever opted out since has done so after it, however
        # late and often the link is opened.
        values = [{Field(name): text for name, text in one.items()} for one in found["v"]]
        for one in values:
            one[Field.CONSENT_DATE] = one.get(Field.CONSENT_DATE) or entered_at.isoformat()
        brand = self._brand(int(values[0][Field.BRAND_CODE]))
        if request.method != "POST":
            return ask_confirmation(brand, [Channel(one[Field.TYPE]) for one in values])
        await delivery_of(request)
        # Address and agent are of who confirms; those of who entered it are kept beside them.
        entered = {
            f"entered_{name}" if name in _OF_PERSON else name: text
            for name, text in found["e"].items()
        }
        entered["entered_at"] = entered_at.isoformat()
        await self._publish(request, values, entered, found["o"])
        return page(CONFIRMED)

    async def _publish(
        self,
        request: Request,
        values: Sequence[Mapping[Field, str]],
        evidence: Mapping[str, str],
        origin: str,
    ) -> None:
        """Publish a record of each of ``values``.

        Raises:
            BrokenLinkError: one is refused.
            BrokerError: Kafka did not acknowledge all, or an opt-in cannot be accepted now.
        """
        link = digest_of(request.path_params["link"])
        acted = {"link": link, **acting(request)}
        records = [
            InputRecord(
                values=one,
                reference=link,
                evidence={**evidence, **acted},
                is_live=True,
                violations=(),
                recipient_name=Field.RECIPIENT,
            )
            for one in values
        ]
        codes = {int(one[Field.BRAND_CODE]) for one in values}
        key = key_of(origin, codes, self.directory, self.intake.now())
        response = await self.intake.accept(records, None, key, is_single=False, origin=origin)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise BrokerError("an opt-in cannot be accepted now")
        if response.status_code != HTTPStatus.ACCEPTED:
            _log.error("link of no use", origin=origin, status=response.status_code)
            raise BrokenLinkError

    def _brand(self, code: int) -> str:
        """Return the name of a brand; raises BrokenLinkError where it is served no more."""
        brand = self.directory.find(code)
        if brand is None:
            raise BrokenLinkError
        return brand.name


def digest_of(sealed: str) -> str:
    """Return what names a link without being of any use."""
    return hashlib.sha256(sealed.encode()).hexdigest()
