"""The questions that are asked of the gate, as requests of HTTP."""

import json

from izin.schemas.may_send_api import PATH

BRAND = 100001
HOST = "127.0.0.1"


def recipient(number: int) -> str:
    """Return one of many recipients, all made up."""
    return f"+90555{number:07d}"


def request(number: int, key: str) -> bytes:
    """Return the request of an HTTP client that asks about one recipient."""
    question = {"brand_code": BRAND, "type": "MESAJ", "recipients": [recipient(number)]}
    body = json.dumps(question).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
