"""İYS's error codes of the endpoints beside consents: retailers, partners, reports, lists.

They belong to the same table as those in `messages`.
"""

from typing import Final

OTHER_ROWS: Final = (
    (
        "H016",
        400,
        (
            "Geçersiz girdi tespit edildi, gerekli alanlar: "
            "[title, alias, mersis, name, tckn, mobile, city, town, status]"
        ),
    ),
    ("H017", 400, "{key} sahası için {limit} karakter üst sınırına ulaşıldı!"),
    ("H018", 404, "Marka:{brandCode} bulunamadı."),
    ("H031", 404, "Kullanıcı:{username} bulunamadı."),
    ("H058", 404, "Bayi::{retailerCode} bulunamadı."),
    ("H060", 500, "Bayi:{retailerCode} güncelleme operasyonu gerçekleştirilemedi."),
    ("H061", 500, "Bayi:{retailerCode} silme operasyonu gerçekleştirilemedi."),
    ("H062", 500, "Bayi:{retailerCode} kaydetme operasyonu gerçekleştirilemedi"),
    ("H067", 400, "Yeni üretilebilecek 8 haneli bayi kodu kalmamıştır."),
    ("H082", 400, "enum listeleme işlemi başarısız."),
    (
        "H089",
        429,
        (
            "Saatte kabul edilen izin geçmişi listeleme istek limitine ulaşıldı. "
            "Lütfen daha sonra tekrar deneyiniz."
        ),
    ),
    ("H090", 400, "Bayi ekleme isteği geçerli olmalıdır."),
    ("H169", 422, "Bayiler (retailerAccess) bulunamadı."),
    ("H171", 400, "Bayi izin erişimi vermek için geçerli bir istek gönderilmelidir."),
    ("H172", 400, "Bayi silme isteği geçersiz."),
    ("H173", 400, "Bayi izin erişimi sorgulamak için geçerli bir istek gönderilmelidir."),
    ("H182", 422, "offset değeri geçerli olmalıdır."),
    ("H186", 422, "Sayfalama (pagination) değeri en fazla 100 olabilir."),
    ("H187", 422, "Limit değerleri sıfır olmamalıdır."),
    ("H201", 400, "Girilen durum değeri geçersiz. Beklenen değerler: [active, suspended, passive]"),
    ("H214", 400, "Bayi ticaret unvanı boş bırakılamaz!"),
    ("H215", 400, "Bayi yetkilisi isim alanı boş bırakılamaz!"),
    ("H216", 400, "Bayi yetkilisi tckn alanı boş bırakılamaz!"),
    ("H217", 400, "Bayi il alanı boş bırakılamaz!"),
    ("H218", 400, "Bayi il alanının code alanı boş bırakılamaz!"),
    ("H219", 400, "Bayi il alanının name alanı boş bırakılamaz!"),
    ("H220", 400, "Bayi ilçe alanı boş bırakılamaz!"),
    ("H221", 400, "Bayi ilçe alanının code alanı boş bırakılamaz!"),
    ("H222", 400, "Bayi ilçe alanının name alanı boş bırakılamaz!"),
    (
        "H224",
        400,
        (
            "Telefon numarası geçersiz. Lütfen E164 uluslararası([+][country code][area code]"
            "[local phone number]) formata uygun bir telefon numarası giriniz. (örn. +905992000000)"
        ),
    ),
    ("H225", 400, "Kimlik numarası değeri geçersiz."),
    ("H226", 400, "Kimlik numarası değeri 11 karakter olmalıdır."),
    ("H227", 400, "Bayi mersis değeri geçersiz."),
    ("H228", 400, "Mersis değeri 16 karakter olmalıdır."),
    ("H229", 400, "{key} alfanümerik olmalıdır."),
    ("H230", 400, "mersis numarası tekil olmalıdır."),
    ("H231", 400, "kimlik numarası tekil olmalıdır."),
    ("H241", 400, "enum getirme işlemi başarısız."),
    ("H243", 400, "Lütfen geçerli bir Vergi Kimlik Numarası giriniz."),
    ("H244", 400, "Tin değeri 10 veya 11 karakter olmalıdır."),
    ("H245", 500, "Verilen iysCode entegratör grubuna ait değildir!"),
    ("H250", 400, "Kullanıcı adı veya şifre eksik!"),
    ("H252", 400, "Kimlik doğrulaması yapılamadı. Kimlik bilgileri eksik!"),
    (
        "H253",
        400,
        (
            "Verilen iysCode altında aynı {key} numarası ile kaydedilen pasif bir bayi "
            "hâlihazırda mevcuttur."
        ),
    ),
    ("H266", 400, "retailerCode değeri istek üzerinde bulunamadı."),
    ("H268", 500, "Verilen iysCode'una bağlı entegratör kullanıcısı bulunamadı!"),
    ("H288", 400, "Tin değeri boş olmamalıdır"),
    ("H363", 400, "Bu servisi kullanabilmek için yetkiniz bulunmamaktadır."),
    ("H401", 400, "Bayi eklenmesi beklenen izin sistemde bulunmamaktadır."),
    ("H501", 422, "Tarih formatı yyyy-aa-gg şeklinde olmalıdır."),
    ("H502", 422, "reportDate alanı en fazla 7 gün önce olabilir."),
    ("H512", 422, "false kabul edilemedi. İzin verilen değerler: true"),
    ("H522", 400, "Sadece entegrator api user hesabıyla işlem yapılabilir"),
    ("H1040", 403, "iysCode, kullanıcı izinleriyle eşleştirilemiyor."),
    ("H1045", 401, "Eksik veya geçersiz jeton!"),
    ("H184", 422, "all değeri geçerli olmalıdır."),
    ("H185", 422, "short değeri geçerli olmalıdır."),
    ("H568", 200, "Sadece ONAY durumunda olan izinler için link üretilmelidir."),
)

# Second messages of codes, each of the endpoint in its name.
LIMIT_AS_H182: Final = "limit değeri geçerli olmalıdır."  # history, partners
OFFSET_AS_H183: Final = "offset değeri geçerli olmalıdır."  # history, partners
ACCESS_LIMIT: Final = (  # H126 of retailer access
    "İzin erişimi olan bayilerin (retailer) liste uzunluğu en fazla 100 olmalıdır."
)
ACCESS_EMPTY: Final = (  # H163 of retailer access
    "Bayiler (retailer) kabul edilemedi. Lütfen boş liste eklemeyiniz."
)
ACCESS_PHONE_TOO_LONG: Final = (  # H166 of retailer access
    "Alıcı (recipient) kabul edilemedi. Telefon numaraları 15 karakterden uzun olamaz."
)
REMOVAL_REFUSED: Final = (  # H172 of removing all
    "Bayi izin erişimini silmek için geçerli bir istek gönderilmelidir."
)
RECIPIENT_TYPE_IN_REPORT: Final = (  # H116 of reports
    "Alıcı tipi (recipientType) kabul edilemedi. İzin verilen değerler: BIREYSEL, TACIR"
)
