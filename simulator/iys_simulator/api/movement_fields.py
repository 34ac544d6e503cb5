"""The fields of a movement that queries, history and pull share."""

from iys_simulator.store.movements import Movement


def movement_fields(movement: Movement) -> dict[str, object]:
    """Return a movement as queries, history and pull show it."""
    return {
        "consentDate": movement.consent_date,
        "creationDate": movement.creation_date,
        "source": movement.source,
        "recipient": movement.recipient,
        "recipientType": movement.recipient_type,
        "status": movement.status,
        "type": movement.type,
        "transactionId": movement.transaction_id,
    }
