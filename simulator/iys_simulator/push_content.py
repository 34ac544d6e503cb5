"""The content of push calls: a movement as İYS delivers it, and the test movement."""

from iys_simulator.store.movements import Movement

# İYS sends exactly this at registration; receivers accept it and do not store it.
TEST_MOVEMENT = {
    "iysCode": 121212,
    "brandCode": 121212,
    "consentDate": "2015-05-01 15:00:00",
    "creationDate": "2015-05-01 15:00:00",
    "source": "IYS_MOBIL",
    "recipient": "pushtest@iys.org.tr",
    "recipientType": "BIREYSEL",
    "status": "ONAY",
    "type": "EPOSTA",
    "transactionId": "e52ee30512adfcd2a41fb3b4682f5bd61eee5b1c92bda665fc0b7e56644d429d",
}


def delivery_item(movement: Movement, brand_code: int, iys_code: int) -> dict[str, object]:
    """Return a movement as push delivers it."""
    return {
        "iysCode": iys_code,
        "brandCode": brand_code,
        "consentDate": movement.consent_date,
        "creationDate": movement.creation_date,
        "source": movement.source,
        "recipient": movement.recipient,
        "recipientType": movement.recipient_type,
        "status": movement.status,
        "type": movement.type,
        "transactionId": movement.transaction_id,
    }
