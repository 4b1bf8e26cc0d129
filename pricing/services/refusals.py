"""Why a change to event types, rules, prices and provider rates is refused: a stable code, and a sentence that says what to do."""

from config.base.errors import DomainError


class PriceRefusedError(DomainError):
    """The change was refused and nothing was written. `problems` names fields where the fault lies in one."""

    code = "price_refused"

    def __init__(self, message: str, problems: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class InvalidPriceError(PriceRefusedError):
    """A figure or a name is not acceptable: correct the fields that `problems` names."""

    code = "invalid_price"


class StartsTooSoonError(PriceRefusedError):
    """Events of that moment may be charged already: choose a later start."""

    code = "price_starts_too_soon"


class LaterVersionError(PriceRefusedError):
    """A version that starts at that moment or later exists: start after it."""

    code = "price_later_version_exists"


class RuleEndedLaterError(PriceRefusedError):
    """The version before ends later than the new one would start: start at its end."""

    code = "price_period_taken"


class NeedsApprovalError(PriceRefusedError):
    """A price in force changes only by a proposal that a second person approves: propose it instead."""

    code = "price_needs_approval"


class UnchangedPriceError(PriceRefusedError):
    """The proposed price is the one that the rule has: change something, or leave it."""

    code = "price_unchanged"


class NothingToUndoError(PriceRefusedError):
    """Only the latest version can be undone, and only if one was in force before it."""

    code = "nothing_to_undo"


class OpenProposalError(PriceRefusedError):
    """Another proposal for this rule waits for a decision: decide or withdraw that one first."""

    code = "proposal_open_exists"


class StaleProposalError(PriceRefusedError):
    """The rule has another version since, or the evidence has changed: reject the proposal, and propose or let advise anew."""

    code = "stale_proposal"


class UnseenEditError(StaleProposalError):
    """Somebody put another price in the proposed one's place meanwhile: read it before you go on."""

    code = "proposal_edited_meanwhile"


class EvidenceHoldsError(PriceRefusedError):
    """The Advisor would say the same again: decide on what it proposes."""

    code = "evidence_holds"


class ProposalDecidedError(PriceRefusedError):
    """The proposal is not open any more: nothing can be done with it."""

    code = "proposal_decided"


class ProposalIsDraftError(PriceRefusedError):
    """Nobody was asked to decide yet: its author submits it first."""

    code = "proposal_is_draft"


class FourEyesError(PriceRefusedError):
    """Whoever proposed or edited a price cannot decide on it: another person has to."""

    code = "four_eyes"


class NotTheAuthorError(PriceRefusedError):
    """Only its author may do this: ask them, or reject the proposal."""

    code = "proposal_not_yours"


class MissingStartError(PriceRefusedError):
    """Neither the proposal nor whoever approves it says when it starts: give a date."""

    code = "proposal_needs_start"


class RateRefusedError(DomainError):
    """The decision about a provider rate was refused and nothing was written: do what the message says."""

    code = "rate_refused"


class LineDecidedError(RateRefusedError):
    """Somebody decided about this line before, or a newer import superseded it: look at it again."""

    code = "rate_line_decided"


class GuardedLineError(RateRefusedError):
    """A guard holds the line back: accept it by itself, with a reason."""

    code = "rate_line_guarded"


class StaleLineError(RateRefusedError):
    """The catalogue has changed since the feed was compared: compare the feed again."""

    code = "rate_line_stale"


class NotKeptError(RateRefusedError):
    """There is no release to compare again: import one."""

    code = "rate_release_not_kept"
