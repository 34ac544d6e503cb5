"""``python -m benchmarks.webhooks.bare_client URL COUNT PARALLEL``: post with httpx, no more.

What webhooks are compared with. The body is read from standard input; the CPU seconds that one post
took, and the seconds of all, are printed as JSON.
"""

import asyncio
import json
import sys
import time

import httpx
import uvloop


async def _post(url: str, count: int, parallel: int, body: bytes) -> None:
    left = iter(range(count))
    headers = {"content-type": "application/json"}
    limits = httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel)
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=15) as client:

        async def work() -> None:
            for _ in left:
                answer = await client.post(url, content=body, headers=headers)
                answer.raise_for_status()

        await asyncio.gather(*(work() for _ in range(parallel)))


def main() -> None:
    """Post, and print what it took."""
    url, count, parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    body = sys.stdin.buffer.read()
    began, cpu = time.monotonic(), time.process_time()
    uvloop.run(_post(url, count, parallel, body))
    seconds = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main()
