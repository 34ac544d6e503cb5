"""The summary of an archive for people, in Turkish: one HTML file without scripts, for A4.

For a legal department and the authority that asks it. It says what the rows say (``report``), and
nothing else: whoever verifies computes it again, byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from typing import Any

from izin.consent import visible
from izin.evidence import words
from izin.evidence.words import named, when

_BURDEN = {
    "iys": (
        "Bu onay İYS üzerinden verilmiştir. İYS üzerinden verilen onaylarda ispat yükümlülüğü "
        "hizmet sağlayıcıya ait değildir (Ticari İletişim ve Ticari Elektronik İletiler Hakkında "
        "Yönetmelik)."
    ),
    "provider": (
        "Bu onay hizmet sağlayıcı tarafından alınmıştır; onayın alındığını ispat yükümlülüğü "
        "hizmet sağlayıcıya aittir (Ticari İletişim ve Ticari Elektronik İletiler Hakkında "
        "Yönetmelik m. 13). Dayanağı aşağıdaki kayıttır."
    ),
}


def page(title: str, parts: Iterable[str], footer: str) -> bytes:
    """Return a page of ``parts``, which are markup, between its title and a footer."""
    css = (resources.files("izin.evidence") / "summary.css").read_text("utf-8")
    lines = [
        "<!DOCTYPE html>",
        '<html lang="tr"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{css}</style></head><body>",
        *parts,
        f"<footer>{escape(footer)}</footer>",
        "</body></html>",
    ]
    return visible("\n".join(lines) + "\n").encode()


def fact_table(facts: Iterable[tuple[str, str]]) -> str:
    """Return names with their values as a table."""
    rows = "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts
    )
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>'


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, ends: bool = False) -> str:
    """Return a table, whose first column is an instant or a name; with ``ends`` the last column is
    a place on a chain.
    """
    if not rows:
        return '<p class="none">Kayıt yoktur.</p>'
    heads = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = []
    for row in rows:
        classes = ['class="when"', *[""] * (len(row) - 1)]
        if ends:
            classes[-1] = 'class="place"'
        cells = "".join(
            f"<td {how}>{escape(cell)}</td>" if how else f"<td>{escape(cell)}</td>"
            for how, cell in zip(classes, row, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    body = "\n".join(lines)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"


def summary_of(report: Mapping[str, Any]) -> bytes:
    """Return the summary of a report (``evidence.json``) as HTML."""
    header = report["header"]
    title = f"Ticari ileti izni kanıt özeti – {header['recipient']}"
    parts = [
        *_head(header),
        *_answers(report),
        *(line for key in report["keys"] for line in _key(key, header["at"])),
        *_daily_files(report["daily_files"]),
        *_proof(report),
    ]
    footer = (
        f"{title} · {when(header['made_at'])} tarihinde hazırlandı · Kişisel veri içerir; yalnızca "
        "yetkili kişi ve kurumlarla paylaşılır."
    )
    return page(title, parts, footer)


def _head(header: Mapping[str, Any]) -> list[str]:
    brand = header["brand"]
    facts = [
        ("Alıcı (elektronik iletişim adresi)", header["recipient"]),
        ("Hizmet sağlayıcı", f"{header['customer']['name']} (İYS no {brand['iys_code']})"),
        ("Marka", f"{brand['name']} (marka kodu {brand['code']})"),
        ("İncelenen an", f"{when(header['at'])} (Türkiye saati)"),
        ("Hazırlanma", f"{when(header['made_at'])}, hazırlayan {header['made_by']}"),
        ("Hazırlanma nedeni", header["reason"]),
    ]
    return [
        "<header><h1>Ticari elektronik ileti izni: kanıt özeti</h1>",
        (
            "<p>Kayıtların tamamı ve ispatı bu özetle aynı arşivdedir. Saatler Türkiye "
            "saatidir.</p></header>"
        ),
        fact_table(facts),
    ]


def _answers(report: Mapping[str, Any]) -> list[str]:
    """Return what stood at the instant in question, and what stands now, a row a key."""
    at = when(report["header"]["at"])
    rows = [
        [_title(key), *_held(key["then"]), " / ".join(_held(key["latest"]))]
        for key in report["keys"]
    ]
    titles = ("Kanal", "Hizmet sağlayıcıda", "İYS'de", "Son durum (hizmet sağlayıcı / İYS)")
    return [
        f"<h2>{escape(at)} anındaki durum</h2>",
        '<div class="answer">',
        *(
            f"<p>{escape(_title(key))}: ticari ileti "
            f"<strong>{escape(words.answer(key['then']))}</strong></p>"
            for key in report["keys"]
        ),
        "</div>",
        (
            "<p>Bu an itibarıyla sistemimizde kayıtlı olan bilgilere göredir; sonradan "
            "öğrenilenler yalnızca son sütundadır.</p>"
        ),
        table(titles, rows),
    ]


def _held(state: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the provider and İYS had, each with its instant."""
    desired, shown = state["desired"], state["registered"]
    ours = "–" if desired is None else f"{desired['status']}, {when(desired['effective_at'])}"
    iys = named(words.STATUSES, shown["status"])
    created = shown["creation_date"]
    return ours, f"{iys}, {when(created)}" if created else iys


def _key(key: Mapping[str, Any], at: str) -> list[str]:
    """Return the sections of one key: consent, calls, other systems, questions, entries."""
    return [
        f"<h2>{escape(_title(key))}</h2>",
        *_consents(key["consents"], at),
        "<h3>İYS'ye yapılan bildirimler ve yanıtları</h3>",
        table(("Gönderim", "Durum", "Yanıt", "İYS işlem no"), _call_rows(key["calls"])),
        *_iys_history(key["iys_history"]),
        "<h3>Diğer sistemlerin bilgilendirilmesi</h3>",
        table(("Bilgilendirme", "Sistem", "Bildirim", "Teslim"), _informed(key)),
        "<h3>Gönderim öncesi sorgular</h3>",
        table(
            ("Sorgu", "Soran", "İleti", "Yanıt"),
            [
                [
                    when(one["occurred_at"]),
                    one["data"]["asked_by"],
                    named(words.CLASSES, one["data"]["message_class"])
                    + (f", {one['data']['campaign']}" if one["data"]["campaign"] else ""),
                    words.answer(one["data"]),
                ]
                for one in key["receipts"]
            ],
        ),
        "<h3>Bütün hareketler</h3>",
        table(
            ("Kayda geçiş", "Hareket", "Ayrıntı", "Zincir"),
            [
                [
                    when(one["recorded_at"]),
                    named(words.KINDS, one["kind"]),
                    words.entry(one),
                    f"{one['shard']}/{one['place']}",
                ]
                for one in key["entries"]
            ],
            ends=True,
        ),
    ]


def _informed(key: Mapping[str, Any]) -> list[list[str]]:
    """Return when which system was informed: by its acknowledgement, or by what was published to
    everyone who reads the topics and feeds.
    """
    rows = [
        (
            one["delivered_at"],
            one["subscriber"],
            named(words.EVENTS, one["type"]) + (" (yineleme)" if one["resend_id"] else ""),
            f"teslim alındı (HTTP {one['status']}, {one['attempts']}. denemede)",
        )
        for one in key["deliveries"]
    ]
    rows += [
        (
            one["occurred_at"],
            "yayını okuyan bütün sistemler",
            named(words.TOPICS, one["data"]["topic"]),
            f"yayımlandı ({one['data']['partition']}/{one['data']['offset']})",
        )
        for one in key["entries"]
        if one["kind"] == "delivery"
    ]
    return [[when(at), *others] for at, *others in sorted(rows)]


def _consents(consents: Sequence[Mapping[str, Any]], at: str) -> list[str]:
    """Return each consent with its notice and evidence, first the one that stood ``at`` then."""
    if not consents:
        return ["<h3>Onay</h3>", '<p class="none">Kayıtlı bir onay yoktur.</p>']
    parts = []
    for one in sorted(consents, key=lambda one: not one["stood_then"]):
        then = ""
        if one["stood_then"]:
            then = " (incelenen anda geçerli olan)"
        elif datetime.fromisoformat(one["recorded_at"]) > datetime.fromisoformat(at):
            then = " (incelenen andan sonra kaydedilen)"
        evidence = [(f"Kanıt: {name}", str(value)) for name, value in one["evidence"].items()]
        facts = [
            ("Onay tarihi", when(one["effective_at"])),
            ("Alındığı yer", _source(one["source"])),
            ("Kaynak sistem", " / ".join(filter(None, (one["origin"], one["actor"]))) or "–"),
            ("Sistemimize ulaşma", when(one["received_at"])),
            ("Aydınlatma/onay metni sürümü", one["notice_version"] or "kaydedilmemiş"),
            *evidence,
            ("Kanıt belgesinin özeti (SHA-256)", one["evidence_hash"] or "–"),
            ("Zincirdeki yeri", f"{one['shard']}/{one['place']}"),
        ]
        parts += [
            f"<h3>Onay{then}</h3>",
            f'<p class="burden">{escape(_BURDEN[one["burden_of_proof"]])}</p>',
            fact_table(facts),
        ]
    return parts


def _call_rows(calls: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    rows = []
    for call in calls:
        for result in call["answers"] or [{}]:
            code = f" ({result['code']})" if result.get("code") else ""
            verdict = named(words.VERDICTS, result.get("verdict")) + code
            rows.append(
                [
                    when(call.get("sent_at")),
                    str(call["status"]),
                    f"{verdict}, {when(result.get('creation_date') or result.get('answered_at'))}"
                    if result
                    else "yanıt kaydı yok",
                    result.get("transaction_id") or result.get("request_id") or "–",
                ]
            )
    return rows


def _iys_history(found: Mapping[str, Any] | None) -> list[str]:
    """Return İYS's own history of a key beside ours; nothing where İYS was not asked."""
    if found is None:
        return []
    differences = [
        f"{named(words.DIFFERENCES, one['what'])}: {one['status']}, {when(one['creation_date'])}"
        for one in found["differences"]
    ]
    said = "okunamadı" if not found["is_readable"] else "; ".join(differences) or "yok"
    return [
        "<h3>İYS'nin kendi izin geçmişi</h3>",
        (
            f"<p>{escape(when(found['asked_at']))} tarihinde İYS'den alınmıştır; yanıtın kendisi "
            f"zincirde {found['shard']}/{found['place']} sırasındadır. Kayıtlarımızla farklar: "
            f"{escape(said)}.</p>"
        ),
        table(
            ("İYS kayıt tarihi", "Durum", "Kaynak", "Onay/ret tarihi", "İYS işlem no", "Zincir"),
            [
                [
                    when(one["creation_date"]),
                    named(words.STATUSES, one["status"]),
                    named(words.SOURCES, one["source"]),
                    when(one["consent_date"]),
                    one["transaction_id"],
                    words.places(one["entries"]),
                ]
                for one in found["movements"]
            ],
            ends=True,
        ),
    ]


def _daily_files(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the recipient's lines in İYS's daily files, and what the ledger found of each file."""
    if not files:
        return []
    lines = [
        [words.day(file["day"]), line["line"], words.places(line["entries"])]
        for file in files
        for line in file["lines"]
    ]
    return [
        "<h2>İYS'nin günlük hareket dosyaları</h2>",
        f"<p>{escape(words.DAILY_FILES)}</p>",
        table(("Gün", "Dosyadan kopyalanan satır", "Zincir"), lines, ends=True),
        table(
            (
                "Gün",
                "İYS'nin bildirdiği özet (SHA-384)",
                "Bütünlük",
                "Kayıtlarımız",
                "Zaman damgası",
            ),
            [
                [
                    words.day(one["day"]),
                    one["hash_value"],
                    named(words.INTEGRITIES, one["integrity"]),
                    named(words.AGREEMENTS, one["agreement"]),
                    words.timestamp(one),
                ]
                for one in files
            ],
        ),
    ]


def _proof(report: Mapping[str, Any]) -> list[str]:
    """Return how what is said here can be verified."""
    rows = [
        [f"{one['shard']}/{one['place']}", when(one["anchored_at"]), one["link"]]
        for one in report["chain"]
    ]
    return [
        "<h2>Kayıtların bütünlüğü</h2>",
        (
            "<p>Her hareket, kendisinden öncekinin özetine (SHA-256) bağlanarak yazılır; "
            "zincirlerin uçları düzenli olarak sistemin dışında yayımlanır. Bu arşivdeki her "
            "hareketin zinciri aşağıdaki uçlardan birine varır. Yayımlanmış uçlar elinde olan "
            "herkes arşivi veri tabanımıza erişmeden doğrulayabilir:</p>"
        ),
        "<p><code>python -m izin.evidence ARŞİV --anchors UÇLAR</code></p>",
        (
            '<p class="small">Değiştirilen tek bir bayt dahi bu doğrulamada ortaya çıkar. Arşivin '
            "özeti, kimin hangi nedenle hazırladığıyla birlikte sistemin kayıtlarına da "
            "yazılmıştır.</p>"
        ),
        table(("Zincir/sıra", "Yayım", "Uç (SHA-256)"), rows),
    ]


def _title(key: Mapping[str, Any]) -> str:
    channel = named(words.CHANNELS, key["channel"])
    return f"{channel}, {named(words.RECIPIENT_TYPES, key['recipient_type'])} alıcı"


def _source(source: str | None) -> str:
    """Return where a consent was taken: in words, and as İYS calls it."""
    said = named(words.SOURCES, source)
    return said if said == source or source is None else f"{said} ({source})"
