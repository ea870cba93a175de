"""What a failing listener leaves behind: a usable page with a sentence in its language.

One wrapper for all listeners of the page, put around them when the page is built, so that a new
one is covered too.
"""

from __future__ import annotations

import functools
import inspect
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from arena.errors.base import ArenaError, InvalidCall, UnexpectedFailure, without_values
from arena.ui.components import Updates
from arena.ui.i18n import error_line, say
from arena.ui.page_state import PageState
from arena.ui.status_view import error_notice

log = logging.getLogger(__name__)

# Ids of the parts that can say a sentence, the first of them among a listener's outputs does.
PLACES = ("notice", "banner", "erase-note", "export-note", "models", "lb-lead")
Handler = Callable[..., Any]
Recover = Callable[[PageState], Updates]
Rescue = Callable[[Exception, tuple[object, ...]], Updates | None]


def protect(demo: gr.Blocks, recover: Recover) -> None:
    """Put the wrapper around every listener; call when all are registered.

    Args:
        demo: the page.
        recover: the page as it should stand after a failure, as updates of any components.
    """
    for listener in demo.fns.values():
        if listener.fn is not None:
            listener.fn = protected(listener.fn, listener, recover)
    demo.process_api = _without_values(demo.process_api)  # type: ignore[method-assign]


def _without_values(process: Handler) -> Handler:
    """Gradio's work around a handler; where that fails, the log gets no value of the call.

    Gradio would print its traceback, whose message quotes the arguments: a visitor's question.
    """

    @functools.wraps(process)
    async def processed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as Gradio's
        try:
            return await process(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:  # noqa: BLE001 -- as above
            log.warning("a call with arguments of another kind: %s", without_values(error))
            raise gr.Error(_for_programs(InvalidCall()), print_exception=False) from None

    return processed


def _for_programs(error: ArenaError) -> str:
    return f"{error.code}: {error.sentence} {error.remedy_text}"


def protected(handler: Handler, listener: BlockFunction, recover: Recover) -> Handler:
    """The handler; where it fails, its last result is what the page needs.

    An error that is meant for the caller (`gr.Error`), and a cancellation, pass through.

    Raises:
        TypeError: a generator that is not async; closing it would hold the event loop.
    """

    def rescue(error: Exception, args: tuple[object, ...]) -> Updates | None:
        return _rescued(error, listener, recover, args)

    if inspect.isgeneratorfunction(handler):
        raise TypeError(f"{handler.__name__} must be an async generator")
    if inspect.isasyncgenfunction(handler):
        wrapper = _updates(handler, rescue)
    elif inspect.iscoroutinefunction(handler):
        wrapper = _coroutine(handler, rescue)
    else:
        wrapper = _plain(handler, rescue)
    return functools.wraps(handler)(wrapper)


def _updates(handler: Handler, rescue: Rescue) -> Handler:
    async def updates(*args: object, **kwargs: object) -> AsyncGenerator[Any, None]:
        try:
            async with aclosing(handler(*args, **kwargs)) as found:
                async for update in found:
                    yield update
        except Exception as error:  # noqa: BLE001 -- logged, and the page says so
            yield rescue(error, args)

    return updates


def _coroutine(handler: Handler, rescue: Rescue) -> Handler:
    async def coroutine(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 -- as the handler's
        try:
            return await handler(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 -- as above
            return rescue(error, args)

    return coroutine


def _plain(handler: Handler, rescue: Rescue) -> Handler:
    def plain(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 -- as the handler's
        try:
            return handler(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 -- as above
            return rescue(error, args)

    return plain


def _rescued(
    error: Exception, listener: BlockFunction, recover: Recover, args: tuple[object, ...]
) -> Updates | None:
    """What the page is told; None where nothing can be told, since the tab has closed.

    Raises:
        gr.Error: to programs, and where the listener has no place for a sentence.
    """
    if isinstance(error, gr.Error):
        raise error
    name = getattr(listener, "name", "")
    if isinstance(error, ArenaError):
        shown: ArenaError = error
        log.warning("%s: %s: %s %s", name, error.code, error.sentence, error.detail)
    else:
        shown = UnexpectedFailure(id=secrets.token_hex(4))
        log.error("%s failed [%s]", name, shown.values["id"], exc_info=error)
    if listener.api_visibility == "public":
        raise gr.Error(_for_programs(shown), print_exception=False) from None
    outputs = {getattr(part, "elem_id", None) or part: part for part in listener.outputs}
    if not outputs:
        return None
    state = next((arg for arg in args if isinstance(arg, PageState)), PageState())
    place = next((outputs[name] for name in PLACES if name in outputs), None)
    if place is None:
        language = state.language
        title = say(language, "error.title")
        raise gr.Error(error_line(language, shown), title=title, print_exception=False) from None
    updates = _recovered(state, outputs, recover)
    return updates | {place: error_notice(state.language, shown)}


def _recovered(state: PageState, outputs: Mapping[Any, Any], recover: Recover) -> Updates:
    """The listener's own part of the recovered page; Send and Stop at least."""
    parts = set(outputs.values())
    try:
        return {part: update for part, update in recover(state).items() if part in parts}
    except Exception:
        log.exception("the page could not be shown as it stands")
        buttons = {"send": True, "stop": False}
        return {
            outputs[name]: gr.update(interactive=on)
            for name, on in buttons.items()
            if name in outputs
        }
