"""The error codes of ViA, each with its HTTP status and its exact message."""

from typing import Final

VIA_ROWS: Final = (
    ("H1010", 400, "{field} alanına girilen değer uygun değil."),
    (
        "H1012",
        400,
        (
            "verificationType alanı için gereken değerler: SMS_SHORTURL,EPOSTA_SHORTURL, SMS_OTP, "
            "EPOSTA_OTP olmalıdır."
        ),
    ),
    ("H1013", 400, "title alanı için gereken değerler: ETK, KVK olmalıdır."),
    ("H1014", 400, "Verilen marka kodları, istekte verilen IYS koda ait değildir."),
    ("H1015", 400, "İşleme devam edebilmek için via kontör miktarı yeterli değildir."),
    (
        "H1026",
        400,
        (
            "Alıcı (recipient) için E164 uluslararası([+][country code][area code][local phone "
            "number]) formatına uygun bir telefon numarası girilmelidir. (örn. `+905992000000`)"
        ),
    ),
    ("H1027", 400, "Alıcı (recipient) kabul edilemedi. Geçerli bir eposta adresi giriniz."),
    (
        "H1030",
        400,
        ("Daha önceden işlem başlatılmış bir requestId ile süreç tamamlama işlemi yapılmalıdır."),
    ),
    ("H1032", 400, "Verilen işlem id için süreç daha önce tamamlanmıştır."),
    ("H1041", 400, "İstek gövdesi geçerli bir JSON olmalıdır."),
    ("H1050", 400, "Otp kodu maksimum 3 defa hatalı girilebilir."),
    (
        "H1051",
        400,
        "Gönderilen OTP ile 15 dakika içinde işlem yapılmadığı için süreç sonlanmıştır.",
    ),
    ("H1052", 400, "Girilen otp kodu geçerli değildir."),
    ("H1056", 400, "İstek üzerinde verilen doğrulama tipi (verificationType) OTP içermemektedir."),
    ("H1057", 400, "{field} alanı boş veya null olmamalıdır."),
    ("H1063", 400, "Alıcı tipi (recipientType) için uygun değerler: [BIREYSEL, TACIR] olmalıdır."),
    (
        "H1064",
        400,
        (
            "Doğrulama tipi (verificationType), işlem başlatma isteğinde belirtilenle "
            "uyuşmamaktadır."
        ),
    ),
    (
        "H1086",
        400,
        (
            "Girdiğiniz '{type}' izin tipi, doğrulama tipi '{way}' ile uyuşmamaktadır. Uyuşan "
            "geçerli değerler: [{valid}]"
        ),
    ),
    ("H1104", 404, "Kullanıcıda VIA yetkisi bulunmamaktadır!"),
)
"""Code, HTTP status, message."""
