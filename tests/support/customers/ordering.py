"""Commands that change something by a person's order, one after the other."""

from collections.abc import Mapping

from tests.support.customers.cut import Cut, cut

ORDERING: Mapping[str, Cut] = {
    "brands retry": cut("{brand}"),
    "customers add": cut("acme --name=Acme --kind=legal"),
    "customers change": cut("acme --vkn=1234567890"),
    "customers checklist": cut(
        "acme trade-mark:{brand}=2019-1", refused=("acme trade-mark:{their_brand}=2019-1",)
    ),
    "brands add": cut(
        "100003 --iys-code=100001 --customer=acme --name=Third",
        refused=(
            "{their_brand} --iys-code=900001 --customer=acme --name=Third",
            "{their_brand} --iys-code=900001 --customer=acme --name=Third --execute",
        ),
    ),
    "brands rights": cut("{brand} --type=MESAJ --type=EPOSTA --execute"),
    "brands suspend": cut(
        "--customer=acme --reason=audit",
        "{brand} --reason=audit --execute",
        shows="100001",
        refused=("{their_brand} --customer=acme --reason=audit --execute",),
    ),
    "brands resume": cut(
        "--customer=acme --execute",
        "{brand} --execute",
        refused=("{their_brand} --customer=acme --execute",),
    ),
    "brands requeue": cut(
        "{brand} --because=reconsent --recipient={parked} --plan={requeue}",
        "{brand} --plan={requeue} --execute",
        refused=("{brand} --because=reconsent --recipient={their_key} --plan={new}",),
    ),
    "complaints add": cut(
        "{parked} --brand={brand} --type=MESAJ --sent=2026-03-02T12:00 --sender=A --content=x",
        counts=False,
    ),
    "evidence write": cut(
        "{shared} --brand={brand} --reason=court --out={evidence}",
        "{parked} --brand={brand} --reason=court --out={parked_evidence}",
        shows="100001/MESAJ/BIREYSEL/",
    ),
    "evidence verify": cut("{evidence}", shows="verified"),
    "complaints attach": cut("{complaint} {parked_evidence}"),
    "complaints close": cut("{complaint} --outcome=unfounded"),
    "held-back limit": cut("acme --share=7 --minimum=9 --execute", shows="acme"),
    "held-back release": cut(
        "100002 '--origin=crm of acme' --reason=right",
        "100002 '--origin=crm of acme' --reason=right --execute",
        shows="crm of acme",
    ),
    "held-back withdraw": cut(
        "{brand} '--origin=crm of acme' --reason=wrong",
        "{brand} '--origin=crm of acme' --reason=wrong --execute",
        shows="crm of acme",
    ),
    "dead-letters acknowledge": cut(
        "0/0 --reason=seen --execute",
        "--customer=acme --reason=seen",
        shows="dead letters",
        refused=(
            "0/9 --customer=acme --reason=seen",
            "--customer=acme --brand={their_brand} --reason=seen --execute",
        ),
    ),
    "dead-letters redrive": cut(
        "0/1 --reason=mended",
        "--customer=acme --reason=mended --wait=PT0S --execute",
        refused=(
            "0/9 --customer=acme --reason=mended",
            "--customer=acme --brand={their_brand} --reason=mended --execute",
        ),
    ),
    "deadlines recount-terms": cut("--brand={brand} --execute", shows="100001"),
    "iys daily agree": cut("--brand={brand} --day={day} --execute", shows="100001"),
    "iys daily fetch": cut("--brand={brand} --day={day}"),
    "iys push unregister": cut("{brand} --type=MESAJ --url={push_url} --username=iys --execute"),
    "iys sweep start": cut("--brand={brand} --execute", shows="100001"),
    "iys sweep stop": cut("--brand={brand}", shows="100001"),
    "keys create": cut(
        "shop --scope=ask --customer=acme",
        shows="ask for acme",
        refused=("till --scope=ask --customer=acme --brand={their_brand}",),
    ),
    "keys rotate": cut("key-acme"),
    "keys revoke": cut("shop", "shop --execute"),
    "privacy erase": cut(
        "{shared} --customer=acme",
        "{shared} --customer=acme --execute",
        shows="100002",
        refused=(
            "{their_recipient} --customer=acme --execute",
            "{their_key} --customer=acme --execute",
        ),
    ),
    "publish": cut(
        "--brand={brand} --type=MESAJ --recipient={opted_out} --status=RET --source=HS_WEB",
        "--corrects=0/2 --status=RET",
        shows="consent-events",
    ),
    "import file": cut("{book}", shows="published"),
    "import changes": cut("{book} --customer=acme", shows="behind"),
    "customers onboard": cut(
        "acme {book} --ask --execute",
        shows="1 submissions",
        refused=("acme {mixed} --execute", "acme {book} --brand={their_brand}"),
    ),
    "retention hold": cut(
        "acme --reason=court",
        "acme --reason=court --recipient={shared}",
        refused=(
            "acme --reason=court --recipient={their_key}",
            "acme --reason=court --recipient={their_recipient}",
        ),
    ),
    "retention release": cut("{hold}"),
    "sequences close": cut(
        "--customer=acme --origin=crm --up-to=5", "--customer=acme --origin=crm --up-to=5 --execute"
    ),
    "subscribers add": cut(
        "till --customer=acme --url={hook}",
        refused=("shop --customer=acme --url={hook} --brand={their_brand}",),
    ),
    "subscribers test": cut("till", counts=False),
    "subscribers pause": cut("till"),
    "subscribers resume": cut("till"),
    "subscribers rotate-secret": cut("till"),
    "subscribers resend": cut(
        "till --since=2026-01-01", "till --since=2026-01-01 --execute", "till --recipient={shared}"
    ),
    "subscribers cancel-resend": cut("till"),
    "subscribers remove": cut("till", "till --execute", shows="till"),
    "replay run": cut("{plan} --execute", shows="keys"),
    "retention set": cut("{month} 2099-01-01"),
    "retention drop": cut("", "--execute"),
    "ledger bootstrap": cut("", "--execute", counts=False),
    "ledger archive": cut("{archive}", whole="the archive of a ledger is of all that it holds"),
    "ledger restore": cut(refused=("{archive}",), counts=False),
    "customers offboard": cut(
        "acme --reason=ended --out={zip}",
        "acme --reason=ended --out={zip} --opt-outs={new}.csv --execute",
        shows="acme",
    ),
}
