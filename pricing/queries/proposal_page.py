"""Everything that the page of one proposal shows, read once: both prices, what it stands on, and who may decide."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from config.base.exact import CONTEXT
from pricing.advisor.evidence import Evidence
from pricing.advisor.policy import Policy
from pricing.comparison import Figure, compare
from pricing.definition import Definition
from pricing.models import OPEN, PriceVersion, Proposal, ProposalState
from pricing.queries import deciders, grounds, timeline, workspace
from pricing.rating import explain

NAMED: Final = 5
LARGE: Final = ("evidence", "policy", "recommendation", "backtest")  # lists leave them out


@dataclass(frozen=True, slots=True)
class Deciders:
    """Who may decide: some by name, and how many there are besides."""

    names: tuple[str, ...]
    others: int


@dataclass(frozen=True, slots=True)
class ProposalPage:
    """One proposal as it stands now; a credit is worth `credit_value` of the book currency."""

    proposal: Proposal
    before_sentence: str  # empty: the rule has no price yet
    after_sentence: str
    original_sentence: str  # empty: nobody has edited it
    figures: tuple[Figure, ...]
    latest: PriceVersion | None
    evidence: Evidence | None
    policy: Policy | None
    credit_value: Decimal
    credit_value_is_paid: bool  # customers paid it for the credits of the window; else the workspace says so
    currency: str
    involved: frozenset[int]
    deciders: Deciders
    changes: tuple[str, ...]  # what its evidence was made from and is not so any more, while it is open
    successor: Proposal | None  # of one that was superseded: what was proposed for the rule next

    @property
    def is_open(self) -> bool:
        return self.proposal.state in OPEN

    @property
    def is_overtaken(self) -> bool:
        return self.is_open and self.latest != self.proposal.base_version


def load(proposal: Proposal) -> ProposalPage:
    """Read the page of `proposal`."""
    proposal.refresh_from_db(fields=LARGE)
    base = proposal.base_version
    if base is not None:
        base.rule = proposal.rule
    evidence = Evidence.from_json(proposal.evidence) if proposal.evidence else None
    policy = Policy.from_json(proposal.policy) if proposal.policy else None
    settings = workspace.load()
    is_paid = evidence is not None and evidence.current.credits > 0 and evidence.current.value > 0
    if evidence is not None and is_paid:
        credit_value = CONTEXT.divide(evidence.current.value, evidence.current.credits)
    else:
        credit_value = policy.credit_value if policy else settings.credit_value
    return ProposalPage(
        proposal=proposal,
        before_sentence=explain(base.as_price()) if base else "",
        after_sentence=explain(proposal.as_price()),
        original_sentence=explain(proposal.rule.price(Definition.from_json(proposal.original))) if proposal.original else "",
        figures=figures(proposal),
        latest=timeline.latest(proposal.rule),
        evidence=evidence,
        policy=policy,
        credit_value=credit_value,
        credit_value_is_paid=is_paid,
        currency=evidence.currency if evidence else settings.currency,
        involved=(hands := involved(proposal)),
        deciders=_deciders(hands),
        changes=grounds.changes(proposal) if proposal.state in OPEN else (),
        successor=_successor(proposal),
    )


def figures(proposal: Proposal) -> tuple[Figure, ...]:
    """Return the figures of the price that the proposal would replace, and of the proposed one."""
    base = proposal.base_version
    return compare(base.definition() if base else None, proposal.as_definition())


def involved(proposal: Proposal) -> frozenset[int]:
    """Return the keys of those who had a hand in the proposed price: none of them decides."""
    editors = proposal.edits.values_list("edited_by", flat=True)
    return frozenset(person for person in (proposal.created_by_id, *editors) if person is not None)


def _successor(proposal: Proposal) -> Proposal | None:
    if proposal.state != ProposalState.SUPERSEDED:
        return None
    return Proposal.objects.filter(rule=proposal.rule_id, pk__gt=proposal.pk).exclude(state=ProposalState.DRAFT).order_by("pk").first()


def _deciders(but: frozenset[int]) -> Deciders:
    people = deciders.people().exclude(pk__in=but)
    names: list[str] = list(people.order_by("username").values_list("username", flat=True))
    return Deciders(tuple(names[:NAMED]), max(0, len(names) - NAMED))
