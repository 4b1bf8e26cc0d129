"""Azure's public LLM inference traces, read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing.traces import azure_llm
from billing.traces.trace import Tokens, TraceError

SAMPLE = Path(__file__).parents[2] / "samples" / "traces" / "requests.csv"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


class TestRead:
    def test_keeps_six_decimals_and_takes_the_time_as_utc(self) -> None:
        trace = azure_llm.read(SAMPLE)
        assert trace.recorded_at == datetime(2023, 11, 16, 18, 15, 45, tzinfo=UTC)
        assert trace.steps[1].offset == timedelta(seconds=1, microseconds=680590)

    def test_sorts_by_time_and_remembers_the_place_in_the_file(self) -> None:
        assert [(step.position, step.usage.input_tokens) for step in azure_llm.read(SAMPLE).steps] == [(2, 1000), (1, 374), (3, 396)]

    def test_knows_no_model(self) -> None:
        assert {(step.usage.provider, step.usage.model) for step in azure_llm.read(SAMPLE).steps} == {("azure", "")}

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ("2023-11-16 18:15:46,374", "row 3: has 2 columns, 3 are needed"),
            ("yesterday,1,2", "row 3: TIMESTAMP 'yesterday' is not a time"),
            ("2023-11-16 18:15:46,many,2", "row 3: ContextTokens 'many' is not a number of tokens"),
            ("2023-11-16 18:15:46,-1,2", "row 3: ContextTokens '-1' is not a number of tokens"),
            ("2023-11-16 18:15:46,1,99999999999999", "row 3: GeneratedTokens '99999999999999' is not"),
        ],
    )
    def test_goes_on_after_a_row_that_it_cannot_read(self, row: str, says: str, tmp_path: Path) -> None:
        path = tmp_path / "requests.csv"
        path.write_text(f"{HEADER}2023-11-16 18:15:46,5,1\n{row}\n2023-11-16 18:15:47,6,2\n")
        trace = azure_llm.read(path)
        [fault] = trace.faults
        assert fault.startswith(says)
        assert trace.tokens == Tokens(11, 3)

    @pytest.mark.parametrize(
        ("content", "says"),
        [(b"", "no column TIMESTAMP"), (b"a,b\n1,2\n", "no column TIMESTAMP"), (b"\xff\xfe\x00", "not UTF-8")],
    )
    def test_refuses_what_is_no_trace(self, content: bytes, says: str, tmp_path: Path) -> None:
        path = tmp_path / "requests.csv"
        path.write_bytes(content)
        with pytest.raises(TraceError, match=says):
            azure_llm.read(path)

    def test_reads_all_rows_of_the_real_files(self, real_data: Path) -> None:
        rows = {name: len(azure_llm.read(real_data / f"azure_llm_2023_{name}.csv").steps) for name in ("code", "conv")}
        assert rows == {"code": 8819, "conv": 19366}
