"""``POST /v1/forms/{form}``: forms of web sites, by their back ends or straight from the page.

What the form is for stands in its mapping; address, agent, form and time are taken here and become
evidence. With double opt-in an opt-in is no event until the person opens the link that the answer
has, and is stored nowhere until then: it is sealed in the link. An opt-out never waits.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from izin.consent import CHANNELS, Status, read_recipient
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.links import CONFIRM, PendingConsent
from izin.producers.intake.server import Intake, as_json, refusal
from izin.producers.intake.sources import acting, delivery_of, key_of, payload_of
from izin.producers.links import LinkKeys, opt_out_link
from izin.producers.links.pages import HEADERS, PageText, page
from izin.producers.mapping.field_names import CHANNEL_RECIPIENTS, Field
from izin.producers.mapping.records import AcceptedRecord, InputRecord
from izin.producers.sources import PayloadSource, SourceFolder, SourceRecord
from izin.producers.sources.payloads import PayloadError
from izin.producers.sources.source import FormMapping
from izin.runtime.http_server.problems import JsonResponse, ProblemText
from izin.runtime.http_server.shedding import share_of_key
from izin.schemas.api_keys import ApiKey

UNREADABLE_FORM: Final = ProblemText(400, "Not a form", "the body is no form that can be read")
NO_LINKS: Final = ProblemText(
    503, "Links not set up", "the intake has no IZIN_LINK_SECRETS to make links with; set them", 60
)
THANKS: Final = PageText("Kaydedildi. Teşekkür ederiz.", "Recorded. Thank you.")
NOTHING: Final = PageText(
    "Hiçbir şey seçilmedi, hiçbir şey kaydedilmedi.",
    "Nothing was chosen, and nothing was recorded.",
)
NOT_TAKEN: Final = PageText(
    "Kaydedilemedi. Lütfen girdiğiniz bilgileri denetleyin.",
    "It could not be recorded. Please check what you have entered.",
)


def _recipient_of(record: InputRecord) -> str:
    """Return to whom a record belongs, in the one form that all notations have."""
    channel = record.values[Field.TYPE]
    named = CHANNEL_RECIPIENTS.get(channel, Field.RECIPIENT)
    given = record.values.get(Field.RECIPIENT) or record.values.get(named) or ""
    found = read_recipient(given, CHANNELS[channel])
    return found if isinstance(found, str) else given


def _asked(records: Sequence[InputRecord], mapping: FormMapping) -> Sequence[Mapping[str, Any]]:
    """Return the bodies for ``POST /v1/via`` by which İYS asks for what ``records`` say."""
    bodies: dict[tuple[object, ...], dict[str, Any]] = {}
    for record in records:
        values, channel = record.values, CHANNELS[record.values[Field.TYPE]]
        whose = (values[Field.BRAND_CODE], _recipient_of(record), mapping.way_of(channel))
        brand_code, recipient, way = whose
        body = {
            "recipient": recipient,
            "brand_code": int(brand_code),
            "types": [],
            "recipient_type": values.get(Field.RECIPIENT_TYPE) or None,
            "way": way,
            "form_id": way and mapping.via[way],
            "occasion": mapping.capture,
        }
        bodies.setdefault(whose, body)["types"].append(channel)
    return list(bodies.values())


@dataclass(frozen=True)
class FormIntake:
    """The endpoint, in the process of an ``intake``; without ``keys`` it makes no links."""

    intake: Intake
    folder: SourceFolder[FormMapping]
    directory: BrandDirectory
    keys: LinkKeys | None
    url: str
    """The public URL of the intake, for links."""

    async def post(self, request: Request) -> Response:
        """Publish what somebody has filled in."""
        response = await self.intake.answer(self._of(request))
        if "text/html" not in request.headers.get("accept", ""):
            return response
        said = NOT_TAKEN
        if response.status_code == HTTPStatus.ACCEPTED:
            content = json.loads(bytes(response.body))
            said = THANKS if content["events"] or "confirm" in content else NOTHING
        return HTMLResponse(page(said), response.status_code, HEADERS)

    async def _of(self, request: Request) -> Response:
        form = self.folder.get(request.path_params["form"])
        with share_of_key(request, form.origin):
            delivery, now = await delivery_of(request), self.intake.now()
            try:
                payload = await payload_of(delivery)
            except PayloadError as error:
                raise UNREADABLE_FORM.error(str(error)) from error
            form.prove(delivery, payload, now)
            taken = {
                "capture": form.mapping.capture,
                "form": form.name,
                **acting(request),
            }
            records = [
                replace(found.record, evidence={**taken, **found.record.evidence})
                for found in form.read(delivery, payload)
                if isinstance(found, SourceRecord)
            ]
            reference = request.headers.get("idempotency-key") or None
            return await self._accept(form, records, reference, now)

    async def _accept(
        self,
        form: PayloadSource[FormMapping],
        records: Sequence[InputRecord],
        reference: str | None,
        now: datetime,
    ) -> Response:
        key = key_of(form.origin, form.mapping.brands, self.directory, now)
        waits, at_once = list[InputRecord](), list[InputRecord]()
        for record in records:
            is_asked = form.mapping.double_opt_in or form.mapping.way_of(record.values[Field.TYPE])
            is_waiting = is_asked and record.values[Field.STATUS] != Status.RET
            (waits if is_waiting else at_once).append(record)
        response = await self.intake.accept(
            at_once, reference, key, is_single=False, origin=form.origin, more=self._links
        )
        if not waits or response.status_code != HTTPStatus.ACCEPTED:
            return response
        if refused := self._refused(waits, key, form):
            return refused
        if form.mapping.via:
            said = {**json.loads(bytes(response.body)), "via": _asked(waits, form.mapping)}
            return JsonResponse(said, HTTPStatus.ACCEPTED)
        if self.keys is None:
            raise NO_LINKS.error()
        of_recipient = defaultdict[str, list[InputRecord]](list)
        for record in waits:
            of_recipient[_recipient_of(record)].append(record)
        links: dict[str, str] = {}
        for some in of_recipient.values():
            # Whoever opens it proves one number or address: it confirms nothing of another.
            pending = PendingConsent(form.origin, some)
            sealed = pending.sealed(self.keys, form.mapping.confirm_within_days, now)
            types = (str(record.values[Field.TYPE]) for record in some)
            links |= dict.fromkeys(types, f"{self.url}{CONFIRM}{sealed}")
        said = {**json.loads(bytes(response.body)), "confirm": links}
        return JsonResponse(said, HTTPStatus.ACCEPTED)

    def _refused(
        self, records: Sequence[InputRecord], key: ApiKey, form: PayloadSource[FormMapping]
    ) -> Response | None:
        """Return why ``records`` could not be published once they are confirmed; None: they can."""
        violations: list[dict[str, Any]] = []
        kinds = []
        for index, record in enumerate(records):
            result = self.intake.validator.check(record, key, form.origin)
            if not isinstance(result, AcceptedRecord):
                kinds.append(type(result))
                violations += as_json(result.violations, f"/{index}", record.recipient_name)
        if not kinds:
            return None
        return refusal(len(records), 0, Counter(kinds)).response(violations=violations, events=[])

    def _links(self, record: AcceptedRecord) -> Mapping[str, object]:
        """Return the link by which somebody takes back the consent that they gave: they are to be
        informed of it on the same day.
        """
        event, key = record.event, record.key
        if self.keys is None or event.status == Status.RET:
            return {}
        return {
            "opt_out": opt_out_link(
                self.keys,
                self.url,
                brand_code=key.brand_code,
                channel=key.channel,
                recipient=event.recipient,
                recipient_type=event.recipient_type,
            )
        }
