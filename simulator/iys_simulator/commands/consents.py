"""`iys-simulator citizen` and `write`: save a consent as a citizen or another writer does."""

from typing import Annotated

import typer

from iys_simulator.commands.admin_client import (
    DEFAULT_URL,
    AdminClient,
    BaseUrl,
    Exit,
    Output,
    OutputOption,
    failed,
    print_facts,
)
from iys_simulator.commands.arguments import (
    AnyRecipient,
    BrandOption,
    ChannelOption,
    RawRecipient,
    RecipientTypeOption,
    StatusArgument,
)
from iys_simulator.faults import Writer
from iys_simulator.other_writers import ON_THE_WEB
from iys_simulator.rules.recipients import channels_of


def citizen(
    recipient: AnyRecipient,
    status: StatusArgument,
    *,
    brand: BrandOption,
    channel: ChannelOption,
    recipient_type: RecipientTypeOption = "BIREYSEL",
    source: Annotated[str, typer.Option(help="An İYS source, e.g. IYS_KISAMESAJ.")] = ON_THE_WEB,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Opt in or out as a citizen does at İYS; the change is pushed to the brand."""
    if channel not in channels_of(recipient):
        raise typer.BadParameter(f"{recipient} is not reached by {channel}", param_hint="--type")
    movement = _movement(brand, channel, recipient_type, recipient, status)
    with AdminClient(base_url) as admin:
        response = admin.post("citizen", [{**movement, "source": source}])
    print_facts(response.json()["movements"][0], output)


def write(
    recipient: RawRecipient,
    status: StatusArgument,
    *,
    brand: BrandOption,
    channel: ChannelOption,
    recipient_type: RecipientTypeOption = "BIREYSEL",
    writer: Annotated[Writer, typer.Option(help="Who writes.")] = Writer.PORTAL,
    source: Annotated[str, typer.Option(help="A provider's source.")] = "HS_WEB",
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Save a consent as the provider's portal or another integrator does, by İYS's rules.

    Exit code 1 where the rules refuse it.
    """
    movement = _movement(brand, channel, recipient_type, recipient, status)
    body = {"writer": writer, "movements": [{**movement, "source": source}]}
    with AdminClient(base_url) as admin:
        content = admin.post("writers", body).json()
    if content["refused"]:
        errors = content["refused"][0]["errors"]
        raise failed(
            "; ".join(f"{error['code']} {error['message']}" for error in errors), Exit.WRONG
        )
    print_facts(content["movements"][0], output)


def _movement(
    brand: int, channel: str, recipient_type: str, recipient: str, status: str
) -> dict[str, object]:
    return {
        "brandCode": brand,
        "type": channel,
        "recipientType": recipient_type,
        "recipient": recipient,
        "status": status,
    }
