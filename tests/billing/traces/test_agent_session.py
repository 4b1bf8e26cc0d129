"""Agent sessions, read."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.traces import agent_session
from billing.traces.trace import Tokens, Trace, TraceError

SAMPLE = Path(__file__).parents[2] / "samples" / "traces" / "session.json"


def a_file(folder: Path, **changes: Any) -> Path:
    """Write the sample with other fields."""
    path = folder / "session.json"
    path.write_text(json.dumps(json.loads(SAMPLE.read_text()) | changes))
    return path


@pytest.fixture(scope="module")
def sample() -> Trace:
    return agent_session.read(SAMPLE)


class TestRead:
    def test_counts_the_times_of_a_sub_agent_from_its_own_start(self, sample: Trace) -> None:
        assert [(step.offset.total_seconds(), step.agent) for step in sample.steps] == [
            (0, "main"),
            (10, "main"),
            (15, "agent_001"),
            (55, "agent_001"),
            (70, "main"),
            (80, "main"),
        ]

    def test_tells_the_agents(self, sample: Trace) -> None:
        main, helper = sample.agents
        assert (main.agent_type, helper.agent_type, helper.is_completed) == ("main", "Explore", True)
        assert (helper.starts, helper.ends) == (timedelta(seconds=15), timedelta(seconds=60))

    def test_adds_up_to_what_the_file_states(self, sample: Trace) -> None:
        assert sample.tokens == sample.stated == Tokens(2000, 210)

    def test_splits_input_as_the_prefixes_imply(self, sample: Trace) -> None:
        split = [(step.usage.cache_read_tokens, step.usage.cache_write_tokens) for step in sample.steps]
        assert split == [(0, 320), (320, 128), (0, 192), (192, 0), (448, 0), (128, 0)]

    def test_leaves_empty_what_the_trace_does_not_say(self, sample: Trace) -> None:
        streamed, cut = sample.steps[-2:]
        assert (streamed.is_stream, streamed.ttft_ms, streamed.latency_ms, streamed.is_seen_to_the_end) == (True, 800, 2500, True)
        assert (cut.ttft_ms, cut.latency_ms, cut.is_seen_to_the_end) == (None, None, False)

    def test_is_the_same_trace_under_another_name(self, sample: Trace, tmp_path: Path) -> None:
        copy = tmp_path / "other.json"
        copy.write_bytes(SAMPLE.read_bytes())
        assert agent_session.read(copy).digest == sample.digest

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"{", "is not JSON"),
            (b"\xff\xfe\x00", "is not JSON"),
            (b"[1]", "no list `requests`"),
            (b'{"requests": 3}', "no list `requests`"),
            (b'{"requests": [], "block_size": 0}', "`block_size` must be"),
            (b"[" * 100_000, "is not JSON"),
        ],
    )
    def test_refuses_what_is_no_session(self, content: bytes, says: str, tmp_path: Path) -> None:
        path = tmp_path / "bad.json"
        path.write_bytes(content)
        with pytest.raises(TraceError, match=says):
            agent_session.read(path)

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            (7, "is not an object"),
            ({"t": 0.0}, "`model` is missing"),
            ({"t": 0.0, "model": "m", "out": 1, "hash_ids": []}, "`in` must be"),
            ({"t": 0.0, "model": "m", "in": -1, "out": 1}, "`in` must be"),
            ({"t": 0.0, "model": "m", "in": 1, "out": True}, "`out` must be"),
            ({"t": "now", "model": "m", "in": 1, "out": 1}, "`t` must be"),
            ({"t": 0.0, "model": "m", "in": 1, "out": 1, "hash_ids": 4}, "`hash_ids` must be"),
            ({"t": 5.0, "type": "subagent", "duration_ms": 10}, "needs a list `requests`"),
            ({"t": 5.0, "type": "subagent", "requests": []}, "`duration_ms` must be"),
        ],
    )
    def test_goes_on_after_a_request_that_it_cannot_read(self, row: Any, says: str, tmp_path: Path) -> None:
        good = {"t": 9.0, "type": "n", "model": "m", "in": 10, "out": 1, "hash_ids": []}
        trace = agent_session.read(a_file(tmp_path, requests=[row, good]))
        [fault] = trace.faults
        assert fault.startswith("request 1: ")
        assert says in fault
        assert trace.tokens == Tokens(10, 1)


class TestRealSessions:
    def test_add_up_to_what_each_of_them_states(self, real_data: Path) -> None:
        files = sorted((real_data / "agent_sessions").glob("*.json"))
        assert len(files) == 35
        for path in files:
            trace = agent_session.read(path)
            stated = json.loads(path.read_text())["totals"]
            parts = {part: [step for step in trace.steps if (step.agent == "main") is is_main] for part, is_main in PARTS.items()}
            for part, steps in parts.items():
                sums = {"input": sum(s.usage.input_tokens for s in steps), "output": sum(s.usage.output_tokens for s in steps)}
                assert sums == stated[part], (path.name, part)
            assert trace.tokens == trace.stated
            assert len(trace.agents) == stated["subagent_count"] + 1
            assert not trace.faults

    def test_start_sub_agents_right_after_the_request_that_sent_them(self, real_data: Path) -> None:
        """The reading of `t` as a sub-agent's end, proven on the three that one request dispatched."""
        trace = agent_session.read(real_data / "agent_sessions" / "trace_0277.json")
        first = trace.steps[0]
        assert first.latency_ms is not None
        dispatched = [agent.starts.total_seconds() for agent in trace.agents[1:4]]
        assert max(dispatched) - min(dispatched) < 0.02
        assert 0 < min(dispatched) - first.latency_ms / 1000 < 1

    def test_never_split_more_than_there_is(self, real_data: Path) -> None:
        for path in (real_data / "agent_sessions").glob("*.json"):
            trace = agent_session.read(path)
            for step in trace.steps:
                usage = step.usage
                assert 0 <= usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens


PARTS = {"parent_tokens": True, "subagent_tokens": False}
