"""What repeated prefixes imply about the provider's cache."""

from billing.traces.prefix_cache import LIFETIME_SECONDS, Prompt, Split, split


def a_prompt(starts: float, blocks: list[int], *, model: str = "m", lasts: float = 1) -> Prompt:
    return Prompt(model, starts, starts + lasts, tuple(blocks))


class TestSplit:
    def test_a_prompt_alone_reads_and_writes_nothing(self) -> None:
        assert split([a_prompt(0, [1, 2, 3])]) == [Split(0, 0)]

    def test_what_is_read_again_was_written_once(self) -> None:
        prompts = [a_prompt(0, [1, 2]), a_prompt(10, [1, 2, 3, 4]), a_prompt(20, [1, 2, 3, 4, 5])]
        assert split(prompts) == [Split(0, 2), Split(2, 2), Split(4, 0)]

    def test_only_leading_blocks_count(self) -> None:
        assert split([a_prompt(0, [1, 2, 3]), a_prompt(10, [1, 9, 3])]) == [Split(0, 1), Split(1, 0)]

    def test_each_model_has_a_cache_of_its_own(self) -> None:
        assert split([a_prompt(0, [1, 2], model="a"), a_prompt(10, [1, 2], model="b")]) == [Split(0, 0), Split(0, 0)]

    def test_a_prompt_that_runs_beside_cannot_be_read(self) -> None:
        assert split([a_prompt(0, [1, 2], lasts=10), a_prompt(5, [1, 2])]) == [Split(0, 0), Split(0, 0)]

    def test_a_prefix_lives_five_minutes_after_its_last_use(self) -> None:
        kept = [a_prompt(0, [1, 2]), a_prompt(200, [1, 2]), a_prompt(400, [1, 2])]
        assert [part.read for part in split(kept)] == [0, 2, 2]
        lost = [a_prompt(0, [1, 2]), a_prompt(LIFETIME_SECONDS + 2, [1, 2])]
        assert split(lost) == [Split(0, 0), Split(0, 0)]

    def test_the_order_of_the_prompts_does_not_matter(self) -> None:
        prompts = [a_prompt(10, [1, 2, 3]), a_prompt(0, [1, 2])]
        assert split(prompts) == [Split(2, 0), Split(0, 2)]
