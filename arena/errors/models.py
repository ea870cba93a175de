"""A model cannot answer."""

from __future__ import annotations

from arena.errors.base import ArenaError


class ModelError(ArenaError):
    """A model cannot answer."""

    code = "model"
    message = "The model cannot answer."
    remedy = "Try again, or choose another model."


class ModelUnavailable(ModelError):
    """The model is not loaded, or its weights can't be had."""

    code = "model_unavailable"
    message = "{label} is not available: {why}."
    remedy = "{remedy}"


class UnsupportedModel(ModelError):
    """This kind of file would load wrongly."""

    code = "unsupported_model"
    message = "{source} cannot be loaded correctly: {why}."
    remedy = "{remedy}"


class OutOfMemory(ModelError):
    """The device's memory is full."""

    code = "out_of_memory"
    message = "There is not enough memory: {need} needed, {free} free."
    remedy = "{remedy}"


class EngineCrashed(ModelError):
    """The generation thread died; its running answers failed."""

    code = "engine_crashed"
    message = "The local model's engine stopped unexpectedly."
    remedy = "Try again: the engine is being restarted. The log has the reason."


class NotFinite(ModelError):
    """The model's scores are not finite: a weight is broken, or its number format overflows."""

    code = "not_finite"
    message = "The local model computed something that is not a number."
    remedy = (
        "Set ARENA_LOCAL_DTYPE=float32; if it stays, a weight is broken: get the files again, or "
        "choose another model"
    )


class QuotaSpent(ModelError):
    """The visitor's own share of a shared GPU is spent; the owner's is not."""

    code = "quota_spent"
    message = "The shared GPU has no more time for you at the moment."
    remedy = "{remedy}"


class ContextTooLong(ModelError):
    """Prompt and answer do not fit the model's context."""

    code = "context_too_long"
    message = (
        "The conversation has {prompt_tokens} tokens and the answer may take {max_new_tokens}; "
        "together they pass the model's context of {context_tokens}."
    )
    remedy = "Shorten the prompt, start a new battle, or lower the maximum of tokens."


class CacheTooSmall(ModelError):
    """Prompt and answer do not fit the engine's cache."""

    code = "cache_too_small"
    message = (
        "The request needs room for {needed_tokens} tokens; the engine's cache holds "
        "{cache_tokens}."
    )
    remedy = "Shorten the prompt or lower the maximum of tokens; more memory gives a larger cache."


class KeyMissing(ModelError):
    """No key is configured for the provider."""

    code = "key_missing"
    message = "{label} is not configured."
    remedy = "Set {variable} and start again."


class KeyRejected(ModelError):
    """The provider does not accept the key."""

    code = "key_rejected"
    message = "The provider does not accept the key."
    remedy = "Set a valid key in {variable} and start again."


class NoFreeQuota(ModelError):
    """The key has no quota at all for this model (`limit: 0`): waiting does not help."""

    code = "no_free_quota"
    message = "The key has no free quota for {model}."
    remedy = "Turn billing on for the key, or set {variable}={suggestion}"


class RateLimited(ModelError):
    """Too many requests for the moment."""

    code = "rate_limited"
    message = "The provider's rate limit is reached."
    remedy = "Wait {wait} and try again."


class ModelGone(ModelError):
    """The provider does not know the model, or closed it to this key."""

    code = "model_gone"
    message = "The provider has no model {model} for this key."
    remedy = "Set {variable} to one of: {available}"


class Overloaded(ModelError):
    """The provider is overloaded or failed inside."""

    code = "overloaded"
    message = "The provider is overloaded."
    remedy = "Try again in a minute."


class NetworkFailed(ModelError):
    """The provider could not be reached, or was silent too long."""

    code = "network"
    message = "The provider could not be reached."
    remedy = "Check the network of the machine that runs the arena, then try again."


class EngineUnreachable(NetworkFailed):
    """No engine answers at the address that the owner declared."""

    code = "engine_unreachable"
    message = "No engine answers at {address}."
    remedy = "Start the engine at {address}, or correct {setting}."


class StreamBroken(ModelError):
    """The stream ended before its last event."""

    code = "stream_broken"
    message = "The answer broke off in its middle."
    remedy = "Try again."


class RequestRefused(ModelError):
    """The provider calls the request invalid."""

    code = "request_refused"
    message = "The provider refused the request."
    remedy = "Change the prompt or the settings; the log has the provider's reason."


class ContentBlocked(ModelError):
    """The provider's safety rules blocked the prompt or the answer."""

    code = "content_blocked"
    message = "The provider blocked the prompt or the answer."
    remedy = "Put the prompt in other words."


class EmptyAnswer(ModelError):
    """The model ended well and wrote nothing, e.g. only a call of a tool that was not offered."""

    code = "empty_answer"
    message = "The model ended without writing an answer."
    remedy = "Try again, or put the prompt in other words."


class OnlyThoughts(ModelError):
    """The budget of tokens went into thinking."""

    code = "only_thoughts"
    message = "The model used up its tokens for thinking and wrote no answer."
    remedy = "Raise the maximum of tokens, or ask for less."


class BadReply(ModelError):
    """The provider's reply has an undocumented form."""

    code = "bad_reply"
    message = "The provider's reply could not be understood."
    remedy = "Try again; if it stays, update the arena's packages. The log says what came."


class DailyRequestsSpent(ModelError):
    """The owner's cap of requests for today is reached."""

    code = "daily_requests"
    message = "Today's {limit} requests to {label} are used up."
    remedy = "They start again at {until}; {variable} sets the number."


class BudgetSpent(ModelError):
    """The owner's money for today is spent."""

    code = "budget_spent"
    message = "Today's budget of ${limit} for {label} is spent."
    remedy = "It starts again at {until}; {variable} sets the amount."


class PriceUnknown(ModelError):
    """A daily budget is set for a model without a known price."""

    code = "price_unknown"
    message = "A daily budget is set, but the price of {model} is not known."
    remedy = "Set {variable_in} and {variable_out}, in US dollars for a million tokens."
