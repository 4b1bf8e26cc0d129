"""A recommendation that was given once is given again, byte for byte. The sample is made up; see its README."""

import json
from pathlib import Path

from pricing.advisor.evidence import Evidence, canonical
from pricing.advisor.policy import Policy
from pricing.advisor.recommend import Recommendation, recommend

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "advisor" / "chat_reply.json"


def test_the_sample_is_recommended_as_it_was() -> None:
    stored = json.loads(SAMPLE.read_text())
    evidence, policy = Evidence.from_json(stored["evidence"]), Policy.from_json(stored["policy"])
    assert canonical(evidence.as_json()) == canonical(stored["evidence"])
    said = recommend(evidence, policy)
    assert canonical(said.as_json()) == canonical(stored["recommendation"])
    assert said.evidence_hash == evidence.hash
    assert Recommendation.from_json(stored["recommendation"]) == said
