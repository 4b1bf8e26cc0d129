"""A release that is kept with its import says later what it said then."""

from pathlib import Path

import pytest

from pricing.feeds import files, kept

SAMPLES = Path(__file__).parents[2] / "samples" / "feeds"


@pytest.mark.parametrize("name", ["litellm_1.json", "litellm_2.json", "data.json"])
def test_a_release_is_the_same_when_it_is_read_again(name: str) -> None:
    reading = files.from_file(SAMPLES / name).reading
    assert kept.unpack(reading.source, kept.pack(reading)) == reading


def test_a_whole_release_is_small() -> None:
    assert len(kept.pack(files.installed().reading)) < 400_000
