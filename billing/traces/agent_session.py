"""Reads one recorded agent session; what its fields mean is told in `billing.traces`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from billing.traces import prefix_cache
from billing.traces.prefix_cache import Prompt
from billing.traces.trace import MAIN_AGENT, Agent, Step, Tokens, Trace, TraceError, digest_of, read_bytes
from pricing.units import Usage

EVENT = "agent.step"
PROVIDER = "anthropic"
_LARGEST = 10**12
_LONGEST_SECONDS = 10.0**7


class _FaultError(Exception):
    """One request cannot be read; the message says why."""


@dataclass(slots=True)
class _Reading:
    """What has been read so far: requests in the order of the file, with their prompts beside them."""

    steps: list[Step] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    position: int = 0


def read(path: Path) -> Trace:
    """Read a session. Raises TraceError for a file that is none; a request that cannot be read becomes a fault."""
    content = read_bytes(path)
    try:
        session = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"is not JSON: {error}") from error
    if not isinstance(session, dict) or not isinstance(session.get("requests"), list):
        raise TraceError("is not an agent session: it has no list `requests`")
    block_size = session.get("block_size")
    if not isinstance(block_size, int) or block_size < 1:
        raise TraceError("is not an agent session: `block_size` must be a positive number")
    reading = _Reading()
    for number, row in enumerate(session["requests"], 1):
        where = f"request {number}"
        try:
            if isinstance(row, Mapping) and row.get("type") == "subagent":
                _read_subagent(reading, row, where)
            else:
                _read_request(reading, row, MAIN_AGENT, 0.0)
        except _FaultError as fault:
            reading.faults.append(f"{where}: {fault}")
    return _trace(session, path, content, reading, block_size)


def _trace(session: Mapping[str, Any], path: Path, content: bytes, reading: _Reading, block_size: int) -> Trace:
    steps = sorted(_with_cache(reading, block_size), key=lambda step: (step.offset, step.position))
    main = [step for step in steps if step.agent == MAIN_AGENT]
    agents = list(reading.agents)
    if main:
        ends = max(step.offset + timedelta(milliseconds=step.latency_ms or 0) for step in main)
        agents.insert(0, Agent(MAIN_AGENT, MAIN_AGENT, main[0].offset, ends))
    return Trace(
        name=_word(session.get("id")) or _word(path.stem) or "session",
        digest=digest_of(content),
        event=EVENT,
        endpoint="messages",
        steps=tuple(steps),
        faults=tuple(reading.faults),
        agents=tuple(agents),
        stated=_stated(session),
    )


def _read_subagent(reading: _Reading, row: Mapping[str, Any], where: str) -> None:
    ends, lasted = _seconds(row, "t"), _seconds(row, "duration_ms") / 1000
    if not isinstance(requests := row.get("requests"), list):
        raise _FaultError("a sub-agent needs a list `requests`")
    name = _word(row.get("agent_id")) or f"agent_{len(reading.agents) + 1:03}"
    starts = max(ends - lasted, 0.0)
    for number, request in enumerate(requests, 1):
        try:
            _read_request(reading, request, name, starts)
        except _FaultError as fault:
            reading.faults.append(f"{where}, request {number} of {name}: {fault}")
    agent_type = _word(row.get("subagent_type"))[:64] or "subagent"
    is_completed = row.get("status") == "completed"
    reading.agents.append(Agent(name, agent_type, timedelta(seconds=starts), timedelta(seconds=ends), is_completed))


def _read_request(reading: _Reading, row: Any, agent: str, base: float) -> None:
    """`base` is when the agent began, in seconds since the session did."""
    reading.position += 1
    if not isinstance(row, Mapping):
        raise _FaultError("is not an object")
    model = row.get("model")
    if not isinstance(model, str) or not model:
        raise _FaultError("`model` is missing")
    hashes = row.get("hash_ids", [])
    if not isinstance(hashes, list):
        raise _FaultError("`hash_ids` must be a list")
    usage = Usage(PROVIDER, model[:128], input_tokens=_count(row, "in"), output_tokens=_count(row, "out"))
    starts = base + _seconds(row, "t")
    lasted = _seconds(row, "api_time") if row.get("api_time") is not None else None
    step = Step(
        position=reading.position,
        offset=timedelta(seconds=starts),
        usage=usage,
        agent=agent,
        is_stream=row.get("type") == "s",
        is_seen_to_the_end=bool(row.get("stop")),
        latency_ms=None if lasted is None else round(lasted * 1000),
        ttft_ms=round(_seconds(row, "ttft") * 1000) if row.get("ttft") is not None else None,
    )
    reading.steps.append(step)
    reading.prompts.append(Prompt(usage.model, starts, starts + (lasted or 0.0), tuple(hashes)))


def _with_cache(reading: _Reading, block_size: int) -> Iterator[Step]:
    for step, part in zip(reading.steps, prefix_cache.split(reading.prompts), strict=True):
        cached = min(part.read * block_size, step.usage.input_tokens)
        written = min(part.written * block_size, step.usage.input_tokens - cached)
        yield replace(step, usage=step.usage._replace(cache_read_tokens=cached, cache_write_tokens=written), is_split_implied=True)


def _stated(session: Mapping[str, Any]) -> Tokens | None:
    combined = (session.get("totals") or {}).get("combined_tokens") if isinstance(session.get("totals"), dict) else None
    return Tokens(combined["input"], combined["output"]) if isinstance(combined, dict) and {"input", "output"} <= combined.keys() else None


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise _FaultError(f"`{name}` must be a whole number of tokens")
    return value


def _seconds(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LONGEST_SECONDS:
        raise _FaultError(f"`{name}` must be a time that is not negative")
    return float(value)


def _word(value: object) -> str:
    """Return `value` as part of an id: printable ASCII without spaces."""
    return "".join(letter for letter in value if "!" <= letter <= "~") if isinstance(value, str) else ""
