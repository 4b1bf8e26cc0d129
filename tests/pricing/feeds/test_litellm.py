from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pricing.feeds import files, litellm
from pricing.feeds.statement import EPOCH, FeedError, Figure, ModelName, Reading, SeriesKey
from pricing.units import UnitKind

SAMPLES = Path(__file__).parents[2] / "samples" / "feeds"
MTOK = 1_000_000


@pytest.fixture(scope="module")
def reading() -> Reading:
    return files.from_file(SAMPLES / "litellm_1.json").reading


def figures(reading: Reading, provider: str, model: str) -> dict[SeriesKey, Figure]:
    return {c.key: c.figure for c in reading.candidates if c.key.owner == (provider, model)}


def left_out(reading: Reading, model: str) -> dict[str, str]:
    return {skipped.what: skipped.reason for skipped in reading.skipped if skipped.model == model}


def read(**entry: Any) -> Reading:
    return litellm.read({"m": {"litellm_provider": "openai", **entry}}, release="a release")


def test_floats_become_exact_prices_per_million(reading: Reading) -> None:
    key = SeriesKey("anthropic", "nimbus-large", UnitKind.INPUT)
    assert figures(reading, "anthropic", "nimbus-large") == {
        key: Figure(Decimal(1), MTOK, "USD"),
        key._replace(unit=UnitKind.OUTPUT): Figure(Decimal(5), MTOK, "USD"),
        key._replace(unit=UnitKind.CACHE_READ): Figure(Decimal("0.1"), MTOK, "USD"),
        key._replace(unit=UnitKind.CACHE_WRITE): Figure(Decimal("1.25"), MTOK, "USD"),
        key._replace(is_batch=True): Figure(Decimal("0.5"), MTOK, "USD"),
    }


def test_a_name_loses_its_prefix_and_keeps_it_as_an_alias(reading: Reading) -> None:
    assert reading.names[ModelName("google", "stratus-pro")] == ("gemini/stratus-pro",)
    assert reading.names[ModelName("anthropic", "nimbus-large")] == ()
    assert reading.names[ModelName("vertex_ai", "fresco-1")] == ("vertex_ai/fresco-1",)
    assert reading.names[ModelName("perplexity", "ask/sonar")] == ()


def test_above_so_many_tokens_is_a_threshold(reading: Reading) -> None:
    key = SeriesKey("google", "stratus-pro", UnitKind.INPUT)
    found = figures(reading, "google", "stratus-pro")
    assert (found[key].price, found[key._replace(context_threshold=200_001)].price) == (Decimal("1.25"), Decimal("2.5"))
    assert found[key._replace(unit=UnitKind.AUDIO_INPUT)].price == Decimal("0.7")


def test_images_and_requests_have_units_of_their_own(reading: Reading) -> None:
    assert list(figures(reading, "vertex_ai", "fresco-1").values()) == [Figure(Decimal("0.04"), 1, "USD")]
    assert figures(reading, "perplexity", "ask/sonar")[SeriesKey("perplexity", "ask/sonar", UnitKind.REQUEST)] == Figure(
        Decimal(5), 1000, "USD"
    )


def test_nothing_is_dated(reading: Reading) -> None:
    assert {(c.effective_from, c.effective_to) for c in reading.candidates} == {(EPOCH, None)}


def test_what_cannot_be_said_is_left_out_and_listed(reading: Reading) -> None:
    assert left_out(reading, "stratus-pro") == {"input_cost_per_character": "apps do not report this unit"}
    assert left_out(reading, "cirrus-embed") == {"output_cost_per_token": "this kind of model has no output tokens"}
    assert left_out(reading, "deep") == {"deep and deepseek/deep": "the same model of the same provider, with other prices"}
    assert left_out(reading, "odd") == {"input_cost_per_token": "not a number: 'cheap'", "output_cost_per_token": "not a price: -0.000001"}
    assert left_out(reading, "nameless") == {"the whole entry": "names no provider"}
    assert not any(name.startswith("sample_spec") for _, name in reading.names)


def test_tokens_at_nothing_beside_another_unit_are_no_price(reading: Reading) -> None:
    assert ModelName("cohere", "cirrus-rank") not in reading.names
    assert left_out(reading, "cirrus-rank")["input"] == "at 0 beside input_cost_per_query"


def test_a_price_with_too_many_places_is_rounded_and_says_so(reading: Reading) -> None:
    [odd] = [c for c in reading.candidates if c.key == SeriesKey("perplexity", "ask/sonar", UnitKind.INPUT)]
    assert odd.figure.price == Decimal("0.333333333333")
    assert odd.detail.endswith("stated as 0.33333333333333333")


def test_two_fields_for_one_price_must_agree() -> None:
    same = read(cache_read_input_token_cost=Decimal("1e-7"), input_cost_per_token_cache_hit=Decimal("1e-7"))
    other = read(cache_read_input_token_cost=Decimal("1e-7"), input_cost_per_token_cache_hit=Decimal("2e-7"))
    assert [c.figure.price for c in same.candidates] == [Decimal("0.1")]
    assert (other.candidates, {s.reason for s in other.skipped}) == ([], {"stated twice, differently"})


def test_cache_writes_are_priced_by_their_lifetime_and_the_size_of_the_request() -> None:
    found = read(
        cache_creation_input_token_cost=Decimal("3.75e-6"),
        cache_creation_input_token_cost_above_1hr=Decimal("6e-6"),
        cache_creation_input_token_cost_above_200k_tokens=Decimal("7.5e-6"),
        cache_creation_input_token_cost_above_1hr_above_200k_tokens=Decimal("1.2e-5"),
    )
    assert {(c.key.unit.value, c.key.context_threshold): c.figure.price for c in found.candidates} == {
        ("cache_write", 0): Decimal("3.75"),
        ("cache_write_1h", 0): Decimal(6),
        ("cache_write", 200_001): Decimal("7.5"),
        ("cache_write_1h", 200_001): Decimal(12),
    }
    assert found.skipped == []


def test_a_service_tier_has_its_own_price() -> None:
    [candidate] = read(input_cost_per_token_priority=Decimal("2e-6")).candidates
    assert (candidate.key.service_tier, candidate.figure.price) == ("priority", Decimal(2))


def test_refuses_an_unknown_provider() -> None:
    with pytest.raises(FeedError, match="no prices of a provider called nobody"):
        files.from_file(SAMPLES / "litellm_1.json", only_providers=["nobody"])


class TestFiles:
    def test_the_format_is_told_from_the_content(self) -> None:
        assert files.from_file(SAMPLES / "data.json").reading.source == "genai-prices"
        assert files.from_file(SAMPLES / "litellm_1.json").reading.source == "litellm"
        assert files.from_file(SAMPLES / "litellm_1.json", source="tokencost").reading.source == "tokencost"

    def test_a_fingerprint_is_of_the_content(self) -> None:
        first, second = (files.from_file(SAMPLES / f"litellm_{n}.json").sha256 for n in (1, 2))
        assert len(first) == 64
        assert first != second == files.from_file(SAMPLES / "litellm_2.json").sha256

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is not JSON"),
            (b"\xff\xfe", "is not JSON"),
            (b"[" * 100_000, "is not JSON"),
            (b'{"m": {"litellm_provider": "x", "input_cost_per_token": NaN}}', "NaN is not a number"),
            (b'{"models": []}', "neither"),
            (b"3", "neither"),
            (b'[{"id": 3}]', "no data.json"),
            (b"[3]", "no data.json"),
        ],
    )
    def test_what_is_no_feed_is_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "feed.json"
        path.write_bytes(content)
        with pytest.raises(FeedError, match=message):
            files.from_file(path)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FeedError, match="cannot be read: No such file"):
            files.from_file(tmp_path / "none.json")
        with pytest.raises(FeedError, match="cannot be read: Is a directory"):
            files.from_file(tmp_path)

    def test_names_that_cannot_be_kept_are_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "feed.json"
        entry = '{"litellm_provider": "openai", "input_cost_per_token": 1e-6}'
        path.write_text(f'{{"fine": {entry}, "nul\\u0000": {entry}, "{"x" * 201}": {entry}}}')
        reading = files.from_file(path).reading
        assert set(reading.names) == {("openai", "fine")}
        assert [c.key.model for c in reading.candidates] == ["fine"]
        assert {s.reason for s in reading.skipped} == {"a name too long or unprintable"}

    def test_the_installed_feed_has_a_fingerprint_of_its_prices(self) -> None:
        all_of_it, some = files.installed(), files.installed(only_providers=["anthropic"])
        assert all_of_it.sha256 == files.installed().sha256 != some.sha256
        assert some.name.startswith("genai-prices 0.")


class TestStatedTwice:
    """JSON lets a later value of a key replace an earlier one unseen; neither is better than the other."""

    def read(self, tmp_path: Path, content: str) -> Reading:
        path = tmp_path / "feed.json"
        path.write_text(content)
        return files.from_file(path).reading

    def entry(self, price: str) -> str:
        return f'{{"litellm_provider": "openai", "input_cost_per_token": {price}}}'

    def test_a_model_with_two_entries_is_left_out_and_listed(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, f'{{"m": {self.entry("1e-6")}, "n": {self.entry("1e-6")}, "m": {self.entry("8e-6")}}}')
        assert set(found.names) == {("openai", "n")}
        assert [(s.model, s.what, s.reason) for s in found.skipped] == [("m", "the whole entry", "stated twice, differently")]

    def test_a_figure_with_two_values_is_left_out_and_the_others_stay(self, tmp_path: Path) -> None:
        entry = '{"litellm_provider": "openai", "input_cost_per_token": 1e-6, "input_cost_per_token": 2e-6, "output_cost_per_token": 5e-6}'
        found = self.read(tmp_path, f'{{"m": {entry}}}')
        assert [c.key.unit for c in found.candidates] == [UnitKind.OUTPUT]
        assert left_out(found, "m") == {"input_cost_per_token": "stated twice, differently"}

    def test_the_same_said_twice_is_no_conflict(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, f'{{"m": {self.entry("1e-6")}, "m": {self.entry("0.000001")}}}')
        assert [c.figure.price for c in found.candidates] == [Decimal(1)]
        assert found.skipped == []

    def test_another_format_is_refused_whole(self, tmp_path: Path) -> None:
        with pytest.raises(FeedError, match="states 'id' twice in one place, differently"):
            self.read(tmp_path, '[{"id": "a", "id": "b", "models": []}]')
