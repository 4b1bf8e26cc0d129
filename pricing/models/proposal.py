"""A proposal: a price change that waits for a decision, from the Advisor or from a person.

It keeps all that it was decided on: the price as proposed, the evidence and the reasoning as they were, who proposed,
edited and decided, and the version that came of it. Whoever proposed or edited a price cannot approve it.
"""

from typing import Final

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q

from config.base.models import never_truncated
from pricing.definition import Definition
from pricing.models.immutable import is_in_range
from pricing.models.price_rule import PriceRule
from pricing.models.price_version import PriceVersion
from pricing.price import Price


class ProposalSource(models.TextChoices):
    """Who had the idea."""

    ADVISOR = "advisor", "Pricing Advisor"
    PERSON = "person", "A person"


class ProposalState(models.TextChoices):
    """Where a proposal stands; the last four are final."""

    DRAFT = "draft", "Draft"
    PROPOSED = "proposed", "Waiting for a decision"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"
    SUPERSEDED = "superseded", "Superseded"


OPEN: Final = (ProposalState.DRAFT, ProposalState.PROPOSED)

# What a proposal stands on: the columns that never change.
_GROUNDS: Final = (
    *("rule_id", "base_version_id", "undoes_id", "source", "evidence", "evidence_hash", "policy", "recommendation"),
    *("created_by_id", "created_at"),
)
_KEEPS_TO_ITS_ROAD: Final = f"""
    IF TG_OP = 'INSERT' THEN
        IF NEW.state NOT IN ('draft', 'proposed') THEN
            RAISE EXCEPTION 'A proposal begins as a draft or as proposed.' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF ROW({", ".join(f"NEW.{name}" for name in _GROUNDS)}) IS DISTINCT FROM ROW({", ".join(f"OLD.{name}" for name in _GROUNDS)}) THEN
        RAISE EXCEPTION 'What a proposal stands on never changes: propose anew.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.state, NEW.state) NOT IN (
        ('draft', 'draft'), ('draft', 'proposed'), ('draft', 'withdrawn'), ('proposed', 'proposed'),
        ('proposed', 'approved'), ('proposed', 'rejected'), ('proposed', 'withdrawn'), ('proposed', 'superseded')
    ) THEN
        RAISE EXCEPTION 'A proposal goes from draft to proposed to a decision, never back.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.recosted_at IS NOT NULL AND NEW.recosted_at IS DISTINCT FROM OLD.recosted_at THEN
        RAISE EXCEPTION 'Evidence whose usage was re-rated stays so: let the Advisor advise again.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state = 'proposed' AND NEW.definition <> OLD.definition AND NOT EXISTS (
        SELECT FROM pricing_proposaledit AS edit
        WHERE edit.proposal_id = NEW.id AND edit.edited_by_id = NEW.edited_by_id AND edit.definition = NEW.definition
    ) THEN
        RAISE EXCEPTION 'A proposed price changes only by an edit that is kept.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.backtest IS DISTINCT FROM (CASE WHEN NEW.definition = OLD.definition THEN coalesce(OLD.backtest, NEW.backtest) END) THEN
        RAISE EXCEPTION 'A backtest is made once, and goes with the price that it is of.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state IN ('approved', 'rejected') AND EXISTS (
        SELECT FROM pricing_proposaledit AS edit WHERE edit.proposal_id = NEW.id AND edit.edited_by_id = NEW.decided_by_id
    ) THEN
        RAISE EXCEPTION 'Whoever edited a proposal cannot decide on it.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'approved' AND NOT EXISTS (
        SELECT FROM pricing_priceversion AS made LEFT JOIN pricing_priceversion AS base ON base.id = NEW.base_version_id
        WHERE made.id = NEW.version_id AND made.rule_id = NEW.rule_id AND made.number = coalesce(base.number, 0) + 1
            AND made.approved_by_id = NEW.decided_by_id
            AND made.created_by_id IS NOT DISTINCT FROM coalesce(NEW.edited_by_id, NEW.created_by_id)
            AND made.credits_per_event = (NEW.definition ->> 'credits_per_event')::numeric
            AND made.components = NEW.definition -> 'components' AND made.tiers = NEW.definition -> 'tiers'
            AND made.minimum = (NEW.definition ->> 'minimum')::numeric
            AND made.rounding_step = (NEW.definition ->> 'rounding_step')::numeric
            AND made.rounding_mode = NEW.definition ->> 'rounding_mode'
    ) THEN
        RAISE EXCEPTION 'The version of an approved proposal follows its base, and is the price and by the people of the proposal.'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
"""


class Proposal(models.Model):
    """One proposed price of one rule. JSON columns: `pricing.definition`, `pricing.advisor`."""

    rule = models.ForeignKey(PriceRule, on_delete=models.PROTECT, related_name="proposals")
    # What was the rule's latest version when this was proposed; if another has come since, the proposal is stale.
    base_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    undoes = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    source = models.CharField(max_length=7, choices=ProposalSource.choices)
    state = models.CharField(max_length=10, choices=ProposalState.choices, default=ProposalState.PROPOSED)
    definition = models.JSONField(help_text="The price as it stands proposed now.")
    original = models.JSONField(null=True, blank=True, help_text="The price as first proposed, where it was edited since.")
    effective_from = models.DateTimeField(null=True, blank=True, help_text="Empty: whoever approves decides.")
    reason = models.TextField()
    evidence = models.JSONField(null=True, blank=True)
    evidence_hash = models.CharField(max_length=64, blank=True, default="")
    policy = models.JSONField(null=True, blank=True)
    recommendation = models.JSONField(null=True, blank=True)
    recosted_at = models.DateTimeField(null=True, blank=True, help_text="When a re-rating changed what usage of the evidence cost.")
    backtest = models.JSONField(null=True, blank=True)
    backtest_tried_at = models.DateTimeField(
        null=True, blank=True, help_text="When a worker last set out to backtest the price as it stands."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()
    edited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    edited_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True, default="")
    version = models.OneToOneField(PriceVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="proposal")

    class Meta:
        ordering = ("-id",)
        permissions = (("propose_price", "Can propose a price"), ("decide_proposal", "Can approve or reject a proposed price"))
        constraints = (
            models.CheckConstraint(name="proposal_source_known", condition=Q(source__in=ProposalSource.values)),
            models.CheckConstraint(name="proposal_state_known", condition=Q(state__in=ProposalState.values)),
            models.UniqueConstraint(name="proposal_open_is_one", fields=("rule",), condition=Q(state="proposed")),
            is_in_range("proposal_start_is_in_range", "effective_from"),
            models.CheckConstraint(name="proposal_has_a_reason", condition=~Q(reason="")),
            # Four eyes. An empty `decided_by` makes these unknown, which a check lets pass; the next one asks for it.
            models.CheckConstraint(name="proposal_decider_did_not_propose", condition=~Q(decided_by=F("created_by"))),
            models.CheckConstraint(name="proposal_decider_did_not_edit", condition=~Q(decided_by=F("edited_by"))),
            models.CheckConstraint(name="proposal_approved_names_its_version", condition=Q(state="approved") ^ Q(version=None)),
            models.CheckConstraint(
                name="proposal_decision_is_whole",
                condition=~Q(state__in=("approved", "rejected"))
                | (Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(decision_reason="")),
            ),
            models.CheckConstraint(
                name="proposal_of_a_person_names_them",
                condition=Q(source="person", created_by__isnull=False) | Q(source="advisor", created_by=None),
            ),
            models.CheckConstraint(
                name="proposal_of_the_advisor_has_evidence",
                condition=Q(source="person") | Q(evidence__isnull=False, recommendation__isnull=False),
            ),
            models.CheckConstraint(
                name="proposal_approved_on_costs_that_hold", condition=~Q(state="approved") | Q(recosted_at__isnull=True)
            ),
            models.CheckConstraint(
                name="proposal_recosted_has_evidence", condition=Q(recosted_at__isnull=True) | Q(evidence__isnull=False)
            ),
            models.CheckConstraint(
                name="proposal_edited_is_whole",
                condition=Q(edited_by=None, edited_at=None, original__isnull=True)
                | Q(edited_by__isnull=False, edited_at__isnull=False, original__isnull=False),
            ),
        )
        triggers = (
            never_truncated(),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="is_decided_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__state__in=("approved", "rejected", "withdrawn", "superseded")),
                func="RAISE EXCEPTION 'A proposal that was decided stays as it is.' USING ERRCODE = 'restrict_violation';",
            ),
            pgtrigger.Trigger(
                name="keeps_to_its_road",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func=_KEEPS_TO_ITS_ROAD,
            ),
        )

    def __str__(self) -> str:
        return f"Proposal {self.pk}: {self.rule}"

    def as_definition(self) -> Definition:
        """Return the price as it stands proposed now."""
        return Definition.from_json(self.definition)

    def as_price(self) -> Price:
        """Return it as rating needs it; reads `rule` and its `event_type`."""
        return self.rule.price(self.as_definition())
