"""The messages of İYS's table of codes, where the examples of its endpoints differ."""

from typing import Final

from iys_simulator.errors.responses import Error

TABLE_MESSAGES: Final = {
    "H014": "Gönderilen istek JSON formatına uygun olmalıdır.",
    "H015": "Beklenmedik bir hata oluştu.",
    "H082": "Enum listeleme işlemi başarısız oldu.",
    "H091": "İzin ekleme sayısı en fazla 1000 olmalıdır.",
    "H093": "transactionId bulunamadı.",
    "H118": (
        "Alan değeri kabul edilemedi. İstek gövdesinde bulunabilecek değerler: recipientType, "
        "retailerAccess, recipient, retailerCode, source, type, consentDate, status olmalıdır."
    ),
    "H126": "İzin erişimi olan bayilerin (retailer) liste uzunluğu en fazla 100 olmalıdır.",
    "H127": "Alıcı listesi (recipients) uzunluğu en fazla 100 olmalıdır.",
    "H163": "Bayiler kabul edilemedi. Lütfen boş liste eklemeyiniz.",
    "H166": "Alıcı (recipient) kabul edilemedi. Telefon numaraları 15 karakterden uzun olamaz.",
    "H169": "İzin erişimi olan bayiler (retailerAccess) bulunamadı.",
    "H172": "Bayi izin erişimini silmek için geçerli bir istek gönderilmelidir.",
    "H174": (
        "İzin durumu (status) güncellemesi için farklı bir durum girilmelidir. "
        "İzin durumu: ONAY / RET"
    ),
    "H180": (
        "İstek gövdesinde yer alan bayi İYS numarasıyla (retailerCode) "
        "herhangi bir bayi bulunamadı."
    ),
    "H187": "limit değerleri sıfır olmamalıdır.",
    "H191": "brandCode integer bir değer olmalıdır.",
    "H193": "Bayi İYS numarası ve alıcı değeri liste içinde tekrarlanamaz.",
    "H241": "Enum getirme işlemi başarısız oldu.",
    "H266": "iysCode değeri istek üzerinde bulunamadı.",
    "H267": "iysCode değeri boş olmamalıdır.",
    "H353": "Alan, kullanıcı izinleriyle eşleştirilemiyor",
    "H462": "TACIR izinleri güncellenirken izin tarihi (consentDate) verilmelidir",
}


def with_table_message(entry: Error) -> Error:
    """Return an error of the envelope with the message that the table has for its code."""
    code = str(entry.get("code") or entry.get("code:"))
    return {**entry, "message": TABLE_MESSAGES[code]} if code in TABLE_MESSAGES else entry
