"""Which reader a file is for: by its ending."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from billing.traces import agent_session, azure_llm
from billing.traces.trace import Trace, TraceError

READERS: Final[Mapping[str, Callable[[Path], Trace]]] = {".json": agent_session.read, ".csv": azure_llm.read}


def read(path: Path) -> Trace:
    """Read any trace that we know. Raises TraceError."""
    if not path.exists():
        raise TraceError("does not exist")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TraceError("is of no known format: agent sessions end in .json, Azure traces in .csv")
    return reader(path)
