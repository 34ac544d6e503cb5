"""İYS's error codes, each with its HTTP status and its exact message.

The messages are İYS's, in Turkish, with its spelling and full stops; clients are tested against
them. Where a code has several messages, the table has the one of the consent endpoints and the
others are named constants below.
"""

from dataclasses import dataclass
from typing import Final

from iys_simulator.errors.retailer_messages import OTHER_ROWS
from iys_simulator.errors.via_messages import VIA_ROWS

SOURCES: Final = (
    "HS_FIZIKSEL_ORTAM, HS_ISLAK_IMZA, HS_WEB, HS_CAGRI_MERKEZI, HS_SOSYAL_MEDYA, HS_EPOSTA, "
    "HS_MESAJ, HS_MOBIL, HS_EORTAM, HS_ETKINLIK, HS_2015, HS_ATM"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An error of İYS: H-code, HTTP status, message."""

    code: str
    status: int
    message: str


_ROWS: Final = (
    ("H001", 404, "Hizmet Sağlayıcı:{iysCode} bulunamadı."),
    ("H014", 400, "Gönderilen istek JSON formatına uygun olmalıdır."),
    ("H015", 500, "Beklenmedik bir hata oluştu!"),
    (
        "H083",
        429,
        "Saniyede kabul edilen istek limitinine ulaşıldı. Lütfen daha sonra tekrar deneyiniz.",
    ),
    (
        "H084",
        429,
        (
            "Saatte kabul edilen kimlik doğrulama istek limitine ulaşıldı. "
            "Lütfen daha sonra tekrar deneyiniz."
        ),
    ),
    ("H085", 400, "İzin ekleme isteği geçerli olmalıdır."),
    (
        "H086",
        429,
        (
            "Saatte kabul edilen tekil izin durumu sorgulama istek limitine ulaşıldı. "
            "Lütfen daha sonra tekrar deneyiniz."
        ),
    ),
    ("H091", 422, "İzin ekleme sayısı en fazla {limit} olmalıdır."),
    ("H092", 400, "Çoklu izin ekleme isteği geçerli olmalıdır."),
    ("H093", 422, "Kullanıcı adı (username) bulunamadı."),
    ("H097", 400, "İzin sorgulama isteği geçerli olmalıdır."),
    ("H101", 500, "Sunucuya esas veri kaydedilemedi."),
    ("H102", 500, "Şifreleme işlemleri yapılamadı."),
    ("H103", 500, "Sunucuda arama yapılamadı."),
    ("H110", 422, "Durum (status) bulunamadı."),
    ("H111", 422, "İzin tipi (type) bulunamadı."),
    ("H112", 422, "İzin tarihi (consentDate) bulunamadı."),
    ("H113", 422, "İzin kaynağı (source) bulunamadı."),
    ("H114", 422, "Alıcı (recipient) bulunamadı."),
    ("H115", 422, "Durum (status) için uygun değerler: ONAY, RET"),
    ("H116", 422, "Alıcı tipi (recipientType) için uygun değerler: BIREYSEL, TACIR"),
    ("H117", 422, "İzin tipi (type) için uygun değerler: ARAMA, MESAJ, EPOSTA"),
    (
        "H118",
        422,
        (
            "kabul edilemedi. İstek gövdesinde bulunabilecek değerler: recipientType, "
            "retailerAccess, recipient, retailerCode, source, type, consentDate, status olmalıdır."
        ),
    ),
    ("H119", 422, f"İzin kaynağı (source) için uygun değerler: {SOURCES}, HS_KARAR"),
    ("H120", 422, "Alıcı (recipient) kabul edilemedi. Geçerli bir eposta adresi giriniz."),
    (
        "H121",
        422,
        (
            "Alıcı (recipient) için E164 uluslararası([+][country code][area code]"
            "[local phone number]) "
            "formatına uygun bir telefon numarası girilmelidir. (örn. +905992000000)"
        ),
    ),
    (
        "H122",
        422,
        (
            "Alıcı (recipient) için E164 uluslararası ([+][country code][area code]"
            "[local phone number]) formatına uygun bir telefon numarası (örn. +905992000000) ya da "
            "geçerli bir e-posta adresi girilmelidir."
        ),
    ),
    (
        "H123",
        400,
        "Ulaşmaya çalıştığınız servis şu anda meşguldür. Lütfen daha sonra tekrar deneyiniz.",
    ),
    (
        "H124",
        429,
        "Saniyede kabul edilen istek limitine ulaşıldı. Lütfen daha sonra tekrar deneyiniz.",
    ),
    (
        "H126",
        422,
        "İzin erişimi olan bayilerin (retailer) liste uzunluğu en fazla 3000 olmalıdır.",
    ),
    ("H125", 422, "Tek seferde eklenecek izin sayısı en fazla {limit} olmalıdır."),
    ("H127", 422, "Alıcı listesi (recipients) uzunluğu en fazla {limit} olmalıdır."),
    (
        "H155",
        422,
        (
            "İzin kaynağı “1 Mayıs 2015 öncesi” olan izinler için, izin tarihi sadece "
            "2015-05-01 00:00:00 olabilir."
        ),
    ),
    ("H156", 422, "İzinler için 1 Mayıs 2015’den önceki tarihler kabul edilmemektedir."),
    ("H157", 422, "Geçerli bir tarih girilmelidir."),
    ("H158", 422, "İzin tarihi yyyy-mm-dd hh:mm:ss formatında olmalıdır."),
    ("H160", 422, "Alıcı için telefon numaraları 15 karakterden uzun olmamalıdır."),
    ("H162", 422, "Mevcut tarih ve saatten ileri bir tarih ve saat girilmemelidir."),
    ("H163", 422, "İzin erişimi olan bayilerin (retailer) listesi boş olmamalıdır."),
    ("H164", 422, "Alıcı listesi (recipients) kabul edilemedi. Liste boş olmamalıdır."),
    ("H166", 422, "Alıcı için telefon numaraları 15 karakterden uzun olmamalıdır."),
    ("H168", 422, "Alıcı listesi (recipients) bulunamadı."),
    ("H170", 422, "Alıcı tipi (recipientType) bulunamadı."),
    (
        "H174",
        400,
        "İzin durumu (status) güncellemesi için farklı bir durum girilmelidir. İzin durumu: RET",
    ),
    ("H175", 400, "İlk defa kaydedilen bir iznin durum (status) bilgisi RET olmamalıdır."),
    ("H178", 400, "Sistemdeki iznin tarihinden önceki tarihli izinlerle güncelleme yapılamaz."),
    ("H179", 500, "İzin tarihi karşılaştırması yapılamadı."),
    (
        "H180",
        403,
        (
            "İstek gövdesinde yer alan bayi İYS numarasıyla (retailerCode) "
            "herhangi bir bayi bulunamadı."
        ),
    ),
    ("H183", 422, "limit değeri geçerli olmalıdır."),
    ("H190", 422, "iysCode integer bir değer olmalıdır."),
    ("H191", 422, "Bağlantı zaman aşımına uğradı."),
    ("H192", 503, "İstek zaman aşımına uğradı."),
    ("H193", 422, "Alıcı (recipient) değeri liste içinde tekrarlanamaz."),
    (
        "H194",
        422,
        (
            "İzin listede daha önce tanımlandı. Liste içinde izinler alıcı tipi (recipientType), "
            "tip (type) ve alıcı (recipient) değerleri için tekrarlanamaz."
        ),
    ),
    ("H198", 422, "requestId 36 karakterden daha uzun olamaz."),
    ("H199", 422, "requestId sadece harflerden meydana gelemez."),
    ("H251", 401, "Kullanıcı kimlik bilgileri geçersiz!"),
    ("H267", 400, "retailerCode değeri boş string olmamalıdır!"),
    ("H351", 401, "Eksik veya geçersiz jeton!"),
    ("H353", 403, "{field}, kullanıcı izinleriyle eşleştirilemiyor"),
    ("H400", 422, "requestId sadece sayılardan meydana gelemez."),
    ("H408", 422, "HS_KARAR kaynağından iletilen izinler için durum bilgisi RET olmalıdır."),
    ("H412", 500, "Beklenmedik bir hata oluştu."),
    ("H437", 404, "IYS numarası:{iysCode} ile abonelik bulunamadı."),
    ("H462", 400, "TACIR izinleri güncellenirken izin tarihi (consentDate) verilmelidir."),
    ("H463", 400, "TACIR izinleri güncellenirken izin kaynağı (source) verilmelidir."),
    ("H464", 422, "İzin tipi (type) {type} için, alıcı (recipient) {format} formatında olmalıdır."),
    ("H467", 422, "Üç iş günü öncesinde alınan izinler kaydedilemez."),
    ("H470", 500, "Beklenmedik bir hata oluştu."),
    ("H476", 500, "Beklenmedik bir hata oluştu."),
    ("H478", 422, "Alıcı listesi (recipients) liste olmalıdır."),
    ("H486", 400, f"İzin kaynağı (source) kabul edilemedi. İzin verilen değerler: {SOURCES}"),
    ("H506", 422, "İzin kaynağı (source) bulunamadı."),
    ("H507", 422, "limit alanı için karakter üst sınırı {limit} olmalıdır."),
    (
        "H520",
        403,
        "Abonelik durumu {state} iken sadece {who} abonelik sorgulama servisine istek atılabilir.",
    ),
    ("H521", 403, "Abonelik durumu CLOSED iken api kullanılamamaktadır."),
    ("H524", 403, "{iysCode} için ait abonelik kaydı bulunamadı."),
    (
        "H525",
        422,
        "Kullanılan izin sayısı maksimum sayıya ulaştığı için yeni izin eklenememektedir.",
    ),
    ("H530", 422, "Bağlantı oluşturulamadı."),
    ("H531", 422, "Bağlantı linki (url) https ile başlamalıdır."),
    ("H586", 403, "Aboneliğiniz API kullanımını içermemektedir."),
)

REFUSALS: Final = {
    code: Refusal(code=code, status=status, message=message)
    for code, status, message in (*_ROWS, *OTHER_ROWS, *VIA_ROWS)
}

LIMIT_IN_SECTION: Final = (  # H084 of the chapter on authentication
    "Saatte kabul edilen istek limitine ulaşıldı. Lütfen daha sonra tekrar deneyiniz."
)
NOT_JSON: Final = "Gönderilen istek json formatına uygun değil!"  # H014 of batches and retailers
PASSWORD_MISSING: Final = "Şifre (password) bulunamadı."  # noqa: S105 - İYS's message of H093, no secret
FIRST_RET_IN_BATCH: Final = (  # H175 in a batch's results
    "İlk izin kayıt işlemlerinde RET durum (status) bilgisi içeren izinler kaydedilmez."
)
RETAILER_NOT_OF_USER: Final = "retailerCode kullanıcı üzerinde bulunamadı."  # H180 of single adds
NOT_REMOVED: Final = "Bağlantı kaldırılamadı."  # H530 of unregistration
FORBIDDEN_MISSPELT: Final = (
    "{field}, kullanıcı izinleriyle eşleştiriliemiyor"  # H353, older methods
)
PHONE_IN_QUERY: Final = (  # H121 of queries: "formata" for "formatına"
    "Alıcı (recipient) için E164 uluslararası([+][country code][area code]"
    "[local phone number]) "
    "formata uygun bir telefon numarası girilmelidir. (örn. +905992000000)"
)


def message_of(code: str) -> str:
    """Return the message of `code`; that of an unexpected error where the code is unknown."""
    refusal = REFUSALS.get(code)
    return refusal.message if refusal else "Beklenmedik bir hata oluştu."


def default_code(status: int) -> str:
    """Return the H-code that usually comes with an HTTP status."""
    usual = {429: "H124", 503: "H192", 401: "H351"}.get(status)
    if usual:
        return usual
    return next((code for code, row in REFUSALS.items() if row.status == status), "H470")
