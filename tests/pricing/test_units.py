from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.units import FALLBACK, UnitKind, Usage, charged_as, check, costed_as, normalise

tokens = st.integers(0, 10**12)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Any usage that a provider could report: parts inside their wholes."""
    cache_read, cache_write, audio_input, reasoning, audio_output = (draw(tokens) for _ in range(5))
    return Usage(
        provider="anthropic",
        model=draw(st.sampled_from(["claude-opus-4-1", "claude-haiku-4-5", "gpt-5"])),
        input_tokens=cache_read + cache_write + audio_input + draw(tokens),
        output_tokens=reasoning + audio_output + draw(tokens),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=draw(st.integers(0, cache_write)),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_input,
        audio_output_tokens=audio_output,
        images=draw(st.integers(0, 1000)),
        video_seconds=draw(st.decimals(0, 100_000, places=3)),
        requests=draw(st.integers(0, 100)),
    )


class TestNormalise:
    def test_takes_the_parts_out_of_their_wholes(self) -> None:
        usage = Usage(
            input_tokens=1000,
            cache_read_tokens=600,
            cache_write_tokens=100,
            audio_input_tokens=50,
            output_tokens=312,
            reasoning_tokens=200,
            audio_output_tokens=12,
        )
        assert normalise(usage) == {
            UnitKind.INPUT: 250,
            UnitKind.CACHE_READ: 600,
            UnitKind.CACHE_WRITE: 100,
            UnitKind.AUDIO_INPUT: 50,
            UnitKind.OUTPUT: 100,
            UnitKind.REASONING: 200,
            UnitKind.AUDIO_OUTPUT: 12,
            UnitKind.REQUEST: 1,
        }

    def test_takes_what_is_kept_for_an_hour_out_of_the_cache_writes(self) -> None:
        writes = Usage(input_tokens=1000, cache_write_tokens=700, cache_write_1h_tokens=500, requests=0)
        assert normalise(writes) == {UnitKind.INPUT: 300, UnitKind.CACHE_WRITE: 200, UnitKind.CACHE_WRITE_1H: 500}
        assert normalise(writes._replace(cache_write_1h_tokens=700)) == {UnitKind.INPUT: 300, UnitKind.CACHE_WRITE_1H: 700}

    def test_leaves_out_what_was_not_used(self) -> None:
        assert normalise(Usage(images=2, video_seconds=Decimal("1.5"), requests=0)) == {
            UnitKind.IMAGE: 2,
            UnitKind.VIDEO_SECOND: Decimal("1.5"),
        }

    @given(usages())
    def test_units_add_up_to_the_wholes(self, usage: Usage) -> None:
        used = normalise(usage)
        writes = (UnitKind.CACHE_WRITE, UnitKind.CACHE_WRITE_1H)
        inputs = (UnitKind.INPUT, UnitKind.CACHE_READ, *writes, UnitKind.AUDIO_INPUT)
        outputs = (UnitKind.OUTPUT, UnitKind.REASONING, UnitKind.AUDIO_OUTPUT)
        assert sum(used.get(kind, 0) for kind in inputs) == usage.input_tokens
        assert sum(used.get(kind, 0) for kind in outputs) == usage.output_tokens
        assert sum(used.get(kind, 0) for kind in writes) == usage.cache_write_tokens
        assert used.get(UnitKind.CACHE_WRITE_1H, 0) == usage.cache_write_1h_tokens
        assert all(quantity > 0 for quantity in used.values())
        assert check(usage) == []

    @pytest.mark.parametrize(
        "usage",
        [
            Usage(input_tokens=10, cache_read_tokens=11),
            Usage(images=-1),
            Usage(input_tokens=5, cache_read_tokens=-5),
            Usage(input_tokens=10, cache_write_tokens=4, cache_write_1h_tokens=5),
            Usage(cache_write_1h_tokens=-1),
        ],
    )
    def test_refuses_what_has_no_honest_split(self, usage: Usage) -> None:
        with pytest.raises(ValueError, match="is larger than its whole, or negative"):
            normalise(usage)
        assert check(usage)


class TestCheck:
    @pytest.mark.parametrize(
        ("usage", "field"),
        [
            (Usage(input_tokens=10, cache_read_tokens=6, cache_write_tokens=5), "input_tokens"),
            (Usage(input_tokens=10, audio_input_tokens=11), "input_tokens"),
            (Usage(output_tokens=10, reasoning_tokens=6, audio_output_tokens=5), "output_tokens"),
            (Usage(input_tokens=10, cache_write_tokens=4, cache_write_1h_tokens=5), "cache_write_1h_tokens"),
            (Usage(input_tokens=10, cache_write_1h_tokens=5), "cache_write_1h_tokens"),
            (Usage(cache_write_1h_tokens=-1), "cache_write_1h_tokens"),
            (Usage(images=-1), "images"),
            (Usage(video_seconds=Decimal(-1)), "video_seconds"),
        ],
    )
    def test_names_the_field(self, usage: Usage, field: str) -> None:
        assert [name for name, _ in check(usage)] == [field]

    def test_says_what_the_whole_must_include(self) -> None:
        [(_, message)] = check(Usage(input_tokens=10, cache_read_tokens=11))
        assert message.startswith("must include cache_read_tokens, cache_write_tokens and audio_input_tokens")


def test_media_have_no_fallback() -> None:
    media = {UnitKind.AUDIO_INPUT, UnitKind.AUDIO_OUTPUT, UnitKind.IMAGE, UnitKind.VIDEO_SECOND}
    assert not media & FALLBACK.keys()


class TestOneHourWrites:
    """A customer pays what is stated, a provider never charges one lifetime at the rate of another."""

    HOUR, WRITE, INPUT = UnitKind.CACHE_WRITE_1H, UnitKind.CACHE_WRITE, UnitKind.INPUT

    @pytest.mark.parametrize(
        ("stated", "charged", "costed"),
        [
            ({HOUR, WRITE, INPUT}, HOUR, HOUR),
            ({HOUR, INPUT}, HOUR, HOUR),
            ({WRITE, INPUT}, WRITE, None),
            ({WRITE}, WRITE, None),
            ({INPUT}, INPUT, INPUT),
            ({UnitKind.OUTPUT, UnitKind.CACHE_READ}, None, None),
        ],
    )
    def test_have_the_price_of(self, stated: set[UnitKind], charged: UnitKind | None, costed: UnitKind | None) -> None:
        assert charged_as(self.HOUR, stated) is charged
        assert costed_as(self.HOUR, stated) is costed

    def test_are_no_price_of_the_shorter_ones(self) -> None:
        stated = {self.HOUR, self.INPUT}
        assert charged_as(self.WRITE, stated) is costed_as(self.WRITE, stated) is self.INPUT
