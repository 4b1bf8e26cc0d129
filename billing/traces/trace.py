"""What all readers return: a trace, its agents and its steps."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pricing.units import Usage

MAIN_AGENT = "main"


class TraceError(Exception):
    """The file cannot be read as a trace. The message says what is wrong with it, without the file's name."""


class Tokens(NamedTuple):
    """Sums over steps; `input` includes cached tokens."""

    input: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `position` is its place in the file, `offset` the time since the trace began."""

    position: int
    offset: timedelta
    usage: Usage
    agent: str = ""
    is_stream: bool = False
    is_seen_to_the_end: bool = False
    latency_ms: int | None = None
    ttft_ms: int | None = None
    is_split_implied: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent at work in a session, from `starts` to `ends` after the session began."""

    name: str
    agent_type: str
    starts: timedelta
    ends: timedelta
    is_completed: bool = True


@dataclass(frozen=True, slots=True)
class Trace:
    """One file. `digest` identifies its content, `recorded_at` is when it began, if the file says so."""

    name: str
    digest: str
    event: str
    endpoint: str
    steps: tuple[Step, ...]
    faults: tuple[str, ...] = ()
    agents: tuple[Agent, ...] = ()
    recorded_at: datetime | None = None
    stated: Tokens | None = field(default=None)

    @property
    def length(self) -> timedelta:
        """From the first event to the end of the last."""
        ends = [step.offset + timedelta(milliseconds=step.latency_ms or 0) for step in self.steps]
        return max([*ends, *(agent.ends for agent in self.agents)], default=timedelta())

    @property
    def tokens(self) -> Tokens:
        """All steps together."""
        return Tokens(sum(step.usage.input_tokens for step in self.steps), sum(step.usage.output_tokens for step in self.steps))

    @property
    def run_id(self) -> str:
        """The id of the pipeline run that a session becomes; equal only for equal files."""
        return f"{self.name[:100]}.{self.digest[:12]}"


def digest_of(content: bytes) -> str:
    """Identify a file by its content, so that neither its name nor its folder matter."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_bytes(path: Path) -> bytes:
    """Return the content of a file. Raises TraceError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TraceError("does not exist") from None
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}") from error
