"""Terms with a short explanation, which opens on hover, on focus and on tap. Pure.

An explanation is a text of the page, `term.KEY`; a name without one stays plain text.
"""

from __future__ import annotations

from html import escape

from arena.ui.i18n import say_or

# What is explained by the same text.
_SAME = {
    "kv.token": "kv.cache", "kv.short": "kv.cache", "kv.context": "kv.cache",
    "fact.input_tokens": "fact.context", "fact.output_tokens": "fact.context",
}  # fmt: skip


def term_html(name: str, key: str, place: str, language: str) -> str:
    """A name, as a button with its explanation where there is one.

    Args:
        name: as the page shows it.
        key: of the name's text; that of its explanation is `term.KEY`.
        place: where on the page it stands, so that ids differ.
        language: of the page.
    """
    shown = escape(name)
    told = say_or(language, f"term.{_SAME.get(key, key)}", "")
    if not told:
        return shown
    tip = escape(f"tip-{place}-{key}".replace(".", "-"), quote=True)
    return (
        f'<span class="term"><button type="button" id="{tip}-name" aria-describedby="{tip}">'
        f'{shown}</button><span class="tip" role="tooltip" id="{tip}">{escape(told)}</span></span>'
    )
