"""Commands that show or write what is there, in their order: some need what one before wrote."""

from collections.abc import Mapping

from tests.support.customers.cut import Cut, cut

_OURS = "--customer=acme"
_THEIRS = "--customer=acme --brand={their_brand}"
_ASKED = "--type=MESAJ --campaign=spring"

READING: Mapping[str, Cut] = {
    "brands list": cut(_OURS, shows="100002"),
    "brands parked": cut(_OURS, shows="100002"),
    "brands retailers": cut("{brand}", shows="{parked}"),
    "brands show": cut("{brand}", shows="acme"),
    "brands suspensions": cut(_OURS, shows="100002"),
    "complaints list": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "complaints show": cut("{complaint}", shows="acme"),
    "customers granted-brands": cut(_OURS, shows="100002"),
    "customers list": cut(_OURS, shows="100002"),
    "customers show": cut("acme", shows="100002"),
    "customers void-consents": cut("acme --out={new}", refused=("acme --brand={their_brand}",)),
    "customers pack": cut(
        "acme --out={new_folder}",
        "acme {book} --out={new_folder} --output=json",
        shows="100002",
        refused=("acme {mixed} --out={new_folder}",),
    ),
    "customers sync": cut(_OURS, shows="EPOSTA"),
    "dead-letters list": cut(_OURS, shows="0/3", refused=(_THEIRS,), counts=False),
    "dead-letters show": cut("0/1 --unmasked", shows="{parked}", counts=False),
    "deadlines breaches": cut(_OURS, shows="100002"),
    "deadlines opt-outs": cut("{brand} --out={new}", shows="{opted_out}"),
    "deadlines show": cut(_OURS, shows="100002"),
    "evidence anchors": cut("{new}"),
    "explain": cut("{shared} " + _OURS, shows="H100002", refused=("{their_key} " + _OURS,)),
    "iys counts": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "iys daily list": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "iys daily show": cut("--brand={brand} --day={day} --out={new}", shows="t100001"),
    "iys daily verify": cut("--brand={brand} --day={day}", shows="time"),
    "held-back list": cut(_OURS, shows="100002"),
    "iys push status": cut("{brand}", shows="EPOSTA"),
    "iys sweep status": cut(_OURS, shows="100002", refused=(_THEIRS,)),
    "keys list": cut(_OURS, shows="key-acme"),
    "may-send": cut(
        "{shared} --brand={brand} --type=MESAJ",
        shows="registered",
        refused=("{their_recipient} --brand={their_brand} --type=MESAJ",),
    ),
    "privacy export": cut(
        "{shared} --customer=acme --out={new}",
        shows="H100002",
        refused=("{their_recipient} --customer=acme",),
    ),
    "privacy list": cut(_OURS, shows="acme"),
    "receipts show": cut("{receipt}", shows="of acme"),
    "reconcile": cut(
        "--brand={brand} --ask --out={new} --plan={new} --unmasked --output=json",
        shows="{opted_out}",
    ),
    "replay rebuild": cut(
        "desired-consents --brand={brand} --plan={plan} --processes=1 --output=json",
        "ledger --brand={brand} --plan={new} --processes=1 --unmasked --output=json",
        shows="keys",
    ),
    "replay show": cut("{plan}", shows="keys"),
    "replay what-if": cut(
        "--customer=acme --out={new} --closed-day=2026-11-20 --unmasked",
        shows="2026-11-20",
        refused=(_THEIRS + " --out={new} --closed-day=2026-11-20",),
    ),
    "report latency": cut(_OURS, refused=(_THEIRS,)),
    "report week": cut(_OURS, shows="H100002"),
    "retention holds": cut(_OURS, shows="acme"),
    "scrub": cut(
        "{addresses} --brand={brand} " + _ASKED + " --out={new}.csv",
        shows="registered",
        refused=("{addresses} --brand={their_brand} " + _ASKED + " --out={new}.csv",),
    ),
    "sequences list": cut(_OURS, shows="acme"),
    "subscribers list": cut(_OURS, shows="crm-acme"),
    "subscribers show": cut("crm-acme", shows="crm-acme"),
    "subscribers compare": cut(
        "{addresses} --brand={brand} --type=MESAJ --for-tool={new} --for-import={new}"
        " --source=HS_MESAJ",
    ),
    "doctor": cut(
        "--no-running --output=json", whole="it is for whoever operates the installation"
    ),
    "iys limits": cut(""),
    "ledger verify": cut("--output=json", counts=False),
    "retention list": cut(""),
}
"""A line is run with ``--output=json`` too where the command has that, unless the line says it."""
