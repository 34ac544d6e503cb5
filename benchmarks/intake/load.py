"""``python -m benchmarks.intake.load PORT KEYS SECONDS RATE CONNECTIONS``: post single consents.

As ``benchmarks.gate.load`` asks. Standard input has what is posted: ``consents`` and an API key, or
``segment`` and the secret of webhooks of that shape.
"""

import hmac
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import uvloop

from benchmarks.gate.load import Load
from benchmarks.gate.questions import BRAND, HOST, recipient

SEGMENT = "segment"
_AGO = timedelta(minutes=1)


def posted(kind: str, secret: str, number: int, at: datetime) -> bytes:
    """Return the request of this number."""
    if kind == SEGMENT:
        webhook = {
            "type": "track",
            "event": "Marketing Consent Changed",
            "messageId": f"{at.timestamp()}-{number}",
            "timestamp": at.isoformat(timespec="milliseconds"),
            "userId": str(number),
            "properties": {"phone": recipient(number), "channel": "sms", "consent": True},
        }
        body = json.dumps(webhook).encode()
        signature = hmac.digest(secret.encode(), body, "sha1").hex()
        return _request("/v1/sources/segment", {"X-Signature": signature}, body)
    record = {
        "recipient": recipient(number),
        "type": "MESAJ",
        "status": "ONAY",
        "source": "HS_WEB",
        "brand_code": BRAND,
        "date_basis": "received",
    }
    headers = {"Authorization": f"Bearer {secret}"}
    return _request("/v1/consents", headers, json.dumps(record).encode())


def _request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    more = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def is_accepted(head: bytes, body: bytes) -> bool:
    """Whether a post was answered with 202, and its event is named."""
    return head.startswith(b"HTTP/1.1 202") and b"event_id" in body


async def _main() -> None:
    port, keys, connections = (int(sys.argv[one]) for one in (1, 2, 5))
    kind, secret = sys.stdin.read().split(maxsplit=1)
    at = datetime.now(UTC) - _AGO
    seconds, rate = float(sys.argv[3]), float(sys.argv[4])
    posts = [posted(kind, secret, one, at) for one in range(keys)]
    load = Load(posts, seconds, rate, is_accepted)
    await load.run(port, connections)
    sys.stdout.write(load.as_json(seconds))


if __name__ == "__main__":
    uvloop.run(_main())
