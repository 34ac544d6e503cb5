"""``izin links``: links by which people opt out."""

from typing import Annotated

import typer

from izin.cli.terminal import BrandOption, ChannelOption, RecipientTypeOption
from izin.consent import RecipientType
from izin.producers.links import LinkKeys, opt_out_link
from izin.runtime.settings import IntakeSettings

app = typer.Typer(
    help="Make links by which people opt out, for mails and text messages.", no_args_is_help=True
)


@app.callback()
def links() -> None:
    """Group the commands: there is one, and `make` is its name."""


@app.command()
def make(
    recipients: Annotated[
        list[str], typer.Argument(metavar="RECIPIENT...", help="Addresses or phone numbers.")
    ],
    *,
    brand: BrandOption,
    channel: ChannelOption,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="RECIPIENT",
            help='Another address or number of the same person, of which "everything" is meant '
            "too; repeat it for each.",
        ),
    ] = None,
    recipient_type: RecipientTypeOption = RecipientType.BIREYSEL,
) -> None:
    """Print a link for each recipient, in a line.

    It is sealed under the newest of IZIN_LINK_SECRETS, and leads to IZIN_INTAKE_URL. Exit code 3 if
    a recipient cannot be used, 4 if there is no secret.
    """
    settings = IntakeSettings()
    keys = LinkKeys(settings.link_texts)
    if others and len(recipients) > 1:
        raise typer.BadParameter("give one recipient, of whom the others are", param_hint="--with")
    for recipient in recipients:
        typer.echo(
            opt_out_link(
                keys,
                settings.url,
                brand_code=brand,
                channel=channel,
                recipient=recipient,
                others=others or (),
                recipient_type=recipient_type,
            )
        )
