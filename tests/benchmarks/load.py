"""A small load generator: many callers, each waiting for its answer before it calls again. Run in a process of its own,
so that it does not share an interpreter with what it measures: `python -m tests.benchmarks.load` reads a plan from its
standard input and writes the figures to its output, both JSON.
"""

import itertools
import json
import random
import selectors
import socket
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

Request = Callable[[], bytes]


def run(*, port: int, callers: int, seconds: float, request: Request) -> dict[str, Any]:
    """Call for `seconds`; return answers per second and latencies in ms. Any answer but 200 and 201 ends the run."""
    selector = selectors.DefaultSelector()
    for _ in range(callers):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, [time.perf_counter(), b""])
        connection.sendall(request())
    began = time.perf_counter()
    latencies: list[float] = []
    end = began + seconds
    open_callers = callers
    while open_callers:
        for key, _ in selector.select(timeout=30):
            caller: Any = key.fileobj
            state = key.data
            state[1] += caller.recv(1 << 20)
            if not _is_whole(state[1]):
                continue
            now = time.perf_counter()
            if state[1][9:12] not in {b"200", b"201"}:
                raise SystemExit(f"unexpected answer: {state[1][:1000]!r}")
            latencies.append(now - state[0])
            if now >= end:
                selector.unregister(caller)
                caller.close()
                open_callers -= 1
                continue
            state[0], state[1] = now, b""
            caller.sendall(request())
    elapsed = time.perf_counter() - began
    latencies.sort()
    return {
        "per_second": len(latencies) / elapsed,
        "median_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
    }


def _is_whole(data: bytes) -> bool:
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    at = head.lower().find(b"content-length:")
    return len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])


def post(path: str, token: str, body: str) -> bytes:
    """Return one HTTP request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def event(customer: str, key: str) -> str:
    """Return the full body of the API's documentation, for `customer`."""
    return (
        f'{{"event":"chat.reply","customer":"{customer}","idempotency_key":"{key}","quantity":"1",'
        '"usage":{"provider":"anthropic","model":"claude-sonnet-4-5","input_tokens":847,"output_tokens":312,"cache_read_tokens":0,'
        '"cache_write_tokens":0,"reasoning_tokens":0,"audio_input_tokens":0,"audio_output_tokens":0,"images":0,"video_seconds":"0","requests":1},'
        '"route":{"endpoint":"chat.completions","modality":"text","service_tier":"standard","route_group":"default","final_route":"",'
        '"batch":false,"stream":true,"fallbacks":0,"retries":0},'
        '"outcome":{"status":"ok","status_code":200,"error_class":"","latency_ms":812,"ttft_ms":140,"accepted":true},'
        '"owner":{"workflow":"support","run_id":"","job_id":"","agent_type":"","user":"","cost_center":""},'
        '"provider_cost":null,"trace_id":"","metadata":{}}'
    )


def plan(kind: str, token: str, wallets: int) -> Request:
    """Return what to call: single or batch, on many wallets or a hot one, or nothing at all."""
    run_id = uuid.uuid4().hex
    numbers = itertools.count()
    pick = random.Random(7).randrange

    def customer() -> str:
        return "hot" if kind.endswith("hot") else f"user_{1 + pick(wallets)}"

    if kind == "no_op":
        return lambda: b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    if kind.startswith("single"):
        return lambda: post("/api/v1/events", token, event(customer(), f"{run_id}-{next(numbers)}"))

    def batch() -> bytes:
        events = ",".join(event(customer(), f"{run_id}-{next(numbers)}") for _ in range(1000))
        return post("/api/v1/events/batch", token, f'{{"events":[{events}]}}')

    return batch


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    make = plan(asked["kind"], asked["token"], asked["wallets"])
    figures = run(port=asked["port"], callers=asked["callers"], seconds=asked["seconds"], request=make)
    json.dump(figures, sys.stdout)
