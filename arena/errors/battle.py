"""A battle does not allow something now, or a cap protects the owner."""

from __future__ import annotations

from arena.errors.base import ArenaError


class BattleError(ArenaError):
    """The battle does not allow that now."""

    code = "battle"
    message = "The battle does not allow that now."
    remedy = "Start a new battle."


class NoContestants(BattleError):
    """Not enough models are ready for this mode."""

    code = "no_contestants"
    message = "Not all models that this needs are there and ready."
    remedy = "Look at the models' states; try again in a minute, or choose others."


class UnknownBattle(BattleError):
    """There is no such battle."""

    code = "unknown_battle"
    message = "This battle is not known."


class NotYourBattle(BattleError):
    """Another visitor started the battle."""

    code = "not_your_battle"
    message = "Only the person who started a battle can vote on it."


class VoteTooEarly(BattleError):
    """A side has not finished, or failed."""

    code = "vote_too_early"
    message = "Voting opens when both answers are complete."
    remedy = "Wait for both answers, or retry the one that failed."


class AlreadyVoted(BattleError):
    """The battle has its vote already; a battle has one."""

    code = "already_voted"
    message = "This battle has its vote already; the first one counts."


class NothingToUndo(BattleError):
    """The battle has no vote that could be taken back."""

    code = "nothing_to_undo"
    message = "There is no vote to take back."
    remedy = "Vote when both answers are complete."


class UndoTooLate(BattleError):
    """The vote is final."""

    code = "undo_too_late"
    message = "This vote is final and can't be taken back any more."


class BattleLocked(BattleError):
    """The vote is cast, so the conversation cannot go on."""

    code = "battle_locked"
    message = "This battle has its vote, so its conversation is closed."


class BattleErased(BattleError):
    """The battle's texts were removed for good."""

    code = "battle_erased"
    message = "The texts of this battle were deleted."


class NothingToRetry(BattleError):
    """That side did not fail."""

    code = "nothing_to_retry"
    message = "This side has not failed."
    remedy = "Only a failed answer can be asked for again."


class BattleRunning(BattleError):
    """An answer is still being written."""

    code = "battle_running"
    message = "An answer is still being written."
    remedy = "Wait for it, or stop it."


class LimitError(ArenaError):
    """A cap protects the owner."""

    code = "limit"
    message = "That is more than this arena allows."
    remedy = "Try with less."


class EmptyPrompt(LimitError):
    """There is no text to send."""

    code = "empty_prompt"
    message = "There is no question yet."
    remedy = "Write one, or take an example."


class PromptTooLong(LimitError):
    """The prompt has more characters than the owner allows."""

    code = "prompt_too_long"
    message = "The prompt has {length} characters; at most {limit} are allowed."
    remedy = "Shorten it."


class TooManyTokens(LimitError):
    """The prompt and what was said before it are longer than the owner allows."""

    code = "too_many_tokens"
    message = "The conversation has about {tokens} tokens; at most {limit} are allowed."
    remedy = "Shorten the prompt, or start a new battle."


class TooManyTurns(LimitError):
    """The conversation has reached its last turn."""

    code = "too_many_turns"
    message = "A conversation has at most {limit} turns."
    remedy = "Vote, or start a new battle."


class ArenaBusy(LimitError):
    """As many battles are running as the owner allows at once."""

    code = "arena_busy"
    message = "{limit} battles are running, and {waiting} visitors wait already."
    remedy = "Try again in a minute."


class RateExceeded(LimitError):
    """A visitor begins more battles in a minute than the owner allows."""

    code = "rate_exceeded"
    message = "At most {limit} battles a minute are allowed."
    remedy = "Try again in {wait}."


class ErasureTooOften(LimitError):
    """A visitor counts or deletes their texts again and again."""

    code = "erasure_too_often"
    message = "You have just done this several times."
    remedy = "Try again in {wait}."


class DayUsedUp(LimitError):
    """A visitor has had as many battles today as the owner allows."""

    code = "day_used_up"
    message = "Today's {limit} battles are used up."
    remedy = "Come back in {wait}, at {until}."


class OneAtATime(LimitError):
    """A visitor has as many battles running as the owner allows."""

    code = "one_at_a_time"
    message = "{limit} of your battles are still running."
    remedy = "Wait until one is finished, or stop it."
