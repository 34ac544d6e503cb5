"""The words of the printable summary, in Turkish: what codes and kinds of the history mean."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from izin.consent import TURKEY

CHANNELS = {"ARAMA": "Arama", "MESAJ": "Kısa mesaj", "EPOSTA": "E-posta"}
RECIPIENT_TYPES = {"BIREYSEL": "Bireysel", "TACIR": "Tacir/esnaf"}
STATUSES = {
    "ONAY": "ONAY",
    "RET": "RET",
    "NONE": "kayıt yok",
    "NOT_ONAY": "onay yok",
    "UNKNOWN": "bilinmiyor",
}
SOURCES = {
    "HS_FIZIKSEL_ORTAM": "fiziksel ortam",
    "HS_ISLAK_IMZA": "ıslak imza",
    "HS_WEB": "internet sitesi",
    "HS_CAGRI_MERKEZI": "çağrı merkezi",
    "HS_SOSYAL_MEDYA": "sosyal medya",
    "HS_EPOSTA": "e-posta",
    "HS_MESAJ": "kısa mesaj",
    "HS_MOBIL": "mobil uygulama",
    "HS_EORTAM": "elektronik ortam",
    "HS_ETKINLIK": "etkinlik",
    "HS_2015": "1 Mayıs 2015 öncesi veri tabanı",
    "HS_ATM": "ATM",
    "HS_KARAR": "hizmet sağlayıcının kendi kararı",
    "IYS_WEB": "İYS internet sitesi",
    "IYS_WEB_YENI": "İYS internet sitesi, marka ilk kez eklendi",
    "IYS_MOBIL": "İYS mobil uygulaması",
    "IYS_CM": "İYS çağrı merkezi",
    "IYS_KISAMESAJ": "İYS kısa mesaj (3338)",
    "IYS_EPOSTA": "İYS e-postası",
    "IYS_AHS_HAT_KAPATMA": "hat kapatma",
    "IYS_FRAME_EPOSTA": "İYS web formu, e-posta",
    "IYS_FRAME_SMS": "İYS web formu, kısa mesaj",
}
REASONS = {
    "exempt": "onay gerektirmeyen ileti",
    "opted-out": "alıcı ret bildirmiştir",
    "unknown": "marka sorana ait değil",
    "stale": "İYS'deki durum yeterince güncel değil",
    "suspended": "gönderim durdurulmuştu",
    "retailer-not-covered": "onay bu bayiyi kapsamıyor",
    "registered": "onay İYS'de kayıtlı",
    "awaiting-iys": "onay henüz İYS'de kayıtlı değil",
    "void": "onay süresinde kaydedilmedi veya İYS reddetti",
    "register-first": "tacir/esnaf İYS'de kayıtlı değil",
    "not-registered": "İYS'de onay yok",
    "unreadable": "kayıt okunamadı",
}
DECISIONS = {
    "first": "ilk kayıt; uygulandı",
    "newer": "öncekinden yeni; uygulandı",
    "ret-wins-tie": "aynı saniyede ret önceliklidir; uygulandı",
    "older": "mevcut durumdan eski; değişiklik yok",
    "better-evidence": "yalnızca kanıtı güncellendi",
    "lesser-evidence": "değişiklik yok",
    "same-event": "aynı kayıt yeniden geldi; değişiklik yok",
}
VERDICTS = {
    "success": "kaydedildi",
    "already": "zaten kayıtlı",
    "expired": "süresi geçtiği için kabul edilmedi",
    "data": "içeriği nedeniyle kabul edilmedi",
    "not-sent": "gönderilmedi",
    "unknown": "anlamı bilinmeyen yanıt",
}
OUTCOMES = {
    "accepted": "İYS'de kayıtlı",
    "refused": "İYS kabul etmedi",
    "expired": "süresi geçti",
    "superseded": "daha yeni bir kayıt geldi",
    "not_needed": "İYS'ye bildirim gerekmedi",
    "parked": "bir kişinin işlemi bekleniyor",
}
KINDS = {
    "decision": "Kayıt",
    "bootstrap": "Geri yükleme",
    "call": "İYS'ye gönderim",
    "answer": "İYS'nin yanıtı",
    "observation": "İYS'de görülen",
    "outcome": "Sonuç",
    "delivery": "Yayın",
    "act": "Kişi işlemi",
    "breach": "Gecikme",
    "receipt": "Gönderim öncesi sorgu",
    "unreadable": "Okunamayan kayıt",
}
ACTS = {
    "place legal hold": "yasal saklama konuldu, no",
    "release legal hold": "yasal saklama kaldırıldı, no",
    "withdraw opt-out": "ret bildiriminin İYS'ye gönderilmemesine karar verildi",
    "requeue": "yeniden işleme alındı",
    "repair row": "kayıt, hareketlere göre düzeltildi",
    "change retailers at İYS": "bayi erişimi İYS'de değiştirildi",
    "export evidence": "kanıt arşivi hazırlandı",
    "query history at İYS": "İYS'nin izin geçmişi alındı",
}
"""Acts on a recipient's keys; a number may follow."""
DIFFERENCES = {
    "only-at-iys": "yalnızca İYS'nin geçmişinde",
    "only-here": "yalnızca kayıtlarımızda",
    "otherwise": "İYS'de ve kayıtlarımızda farklı",
    "standing": "İYS'deki son hareket, o anda İYS'de olduğu bilinen durumdan farklı",
}
"""How İYS's own history differs from ours."""
PATHS = {
    "push": "İYS bildirimi (push)",
    "pull": "İYS'den çekme (pull)",
    "daily": "günlük hareket dosyası",
    "status": "tekil durum sorgusu",
    "statuses": "toplu durum sorgusu",
    "add": "tekil gönderim yanıtı",
    "batch": "toplu gönderim yanıtı",
}
EVENTS = {
    "consent.opted-out": "ret bildirimi",
    "permission.granted": "gönderim izni",
    "permission.revoked": "gönderim izninin kalkması",
    "consent.outcome": "İYS sonucu",
}
TOPICS = {"permissions": "gönderim izni", "consent-outcomes": "İYS sonucu"}
CLASSES = {"commercial": "ticari ileti"}
INTEGRITIES = {
    "ok": "dosya bu özete sahip",
    "wrong": "saklanan dosya bu özete sahip değil",
    "erased": "saklandığında bu özete sahipti; sonra satırlar silindi",
}
AGREEMENTS = {"ok": "aynı özete sahip", "differs": "farklı satırlar var"}
TIMESTAMPS = {
    "verified": "doğrulandı",
    "unverified": "doğrulanmadı",
    "missing": "İYS'de damga yok",
    "wrong": "geçersiz",
}
DAILY_FILES = (
    "İYS, her günün hareketlerini bir dosyada toplar; dosyanın özetini (SHA-384) bildirir ve bu "
    "özete zaman damgası (RFC 3161) verir. Aşağıdaki satırlar bu dosyalardan kopyalanmıştır. "
    "Dosyalarda başka alıcıların satırları da bulunduğundan kendileri bu arşivde değildir; bir "
    "satır tek başına özete bağlanamaz. Damganın bu özete ait olduğu arşivden doğrulanabilir; "
    "satırın dosyada bulunduğu ise dosyanın tamamı ibraz edilip özeti karşılaştırıldığında "
    "görülür. Zincir sütunu, aynı hareketin zincirdeki kaydıdır. Bütünlük, kayıtlarımız ve damga "
    "sütunları, arşivi hazırlayanın tespitleridir."
)
"""What the lines of daily files prove, and what they do not."""


def when(text: str | None) -> str:
    """Return an instant (ISO) in Turkish time, as ``02.03.2026 12:00:00``."""
    if not text:
        return "–"
    return f"{datetime.fromisoformat(text).astimezone(TURKEY):%d.%m.%Y %H:%M:%S}"


def day(text: str) -> str:
    """Return a day (ISO) as ``02.03.2026``."""
    return f"{date.fromisoformat(text):%d.%m.%Y}"


def named(words: Mapping[str, str], value: Any) -> str:  # noqa: ANN401  # of a fact
    """Return what ``value`` means, and the value itself where it is not known."""
    return words.get(str(value), str(value)) if value else "–"


def entry(fact: Mapping[str, Any]) -> str:  # noqa: C901, PLR0911  # a way out a kind
    """Return what an entry says, in one line."""
    data: Mapping[str, Any] = fact["data"]
    match fact["kind"]:
        case "decision":
            event = data["event"]
            at = f", onay/ret tarihi {when(event.get('consent_date'))}"
            via = event.get("iys")
            path = f", {named(PATHS, via['path'])}" if via else f", kaynak sistem {event['origin']}"
            source = named(SOURCES, event.get("source"))
            return f"{event['status']}, {source}{at}{path}: {named(DECISIONS, data['reason'])}"
        case "call":
            how = "toplu" if data["kind"] == "batch" else "tekil"
            return f"{fact['status']} ({how}, {data['attempt']}. deneme)"
        case "answer":
            code = f" ({data['code']})" if data.get("code") else ""
            created = data.get("creation_date")
            made = f", İYS kayıt tarihi {when(created)}" if created else ""
            return f"{fact['status']}: {named(VERDICTS, data['verdict'])}{code}{made}"
        case "observation":
            made = f", İYS kayıt tarihi {when(data.get('creation_date'))}"
            return f"{named(STATUSES, fact['status'])}, {named(PATHS, data.get('by'))}{made}"
        case "outcome":
            code = f" ({data['code']})" if data.get("code") else ""
            return f"{fact['status']}: {named(OUTCOMES, data['outcome'])}{code}"
        case "delivery":
            return f"{data['topic']} ({data['partition']}/{data['offset']})"
        case "act":
            what, _, number = data["act"].rpartition(" ")
            done = f"{named(ACTS, what)} {number}" if number.isdigit() else named(ACTS, data["act"])
            return f"{done} ({data['by']})"
        case "breach":
            return f"{fact['status']} en geç {when(data['due_at'])} bildirilmeliydi"
        case "receipt":
            return f"{answer(data)}, soran {data['asked_by']}"
        case "unreadable":
            return "bu sürümün okuyamadığı içerik"
        case _:
            return "; ".join(f"{name}: {value}" for name, value in data.items() if value)


def places(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the places of entries on the chains."""
    return ", ".join(f"{one['shard']}/{one['place']}" for one in entries) or "–"


def timestamp(file: Mapping[str, Any]) -> str:
    """Return what the ledger found of the time stamp of a daily file."""
    found, at = named(TIMESTAMPS, file["timestamp_state"]), file["timestamped_at"]
    return f"{found}, {when(at)}" if at else found


def answer(data: Mapping[str, Any]) -> str:
    """Return what the gate answered about one recipient."""
    may = "gönderilebilir" if data["may_send"] else "gönderilemez"
    return f"{may}: {named(REASONS, data['reason'])}"
