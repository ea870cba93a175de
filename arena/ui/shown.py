"""What the page's script knows of the battle that is shown, to find it again."""

from __future__ import annotations

from html import escape

from arena.battle.resume import handle_of
from arena.battle.session import Snapshot
from arena.domain import Battle
from arena.ui.components import Updates, html
from arena.ui.i18n import say
from arena.ui.page_state import PageState


class ShownPart:
    """Tells the page's script by a handle which battle is shown, and the words for a cut."""

    def build(self, language: str) -> None:
        """Make the component; call inside the tab's context."""
        self.box = html(
            shown_html(None, language), elem_id="shown", visible="hidden",
            js_on_load="arenaShown(element, watch)",
        )  # fmt: skip

    def update(self, snapshot: Snapshot | None, state: PageState) -> Updates:
        """For the battle that is shown; None for an empty page."""
        shared = snapshot is state.shared
        battle = None if snapshot is None or shared else snapshot.battle
        return {self.box: shown_html(battle, state.language, voted=state.vote is not None)}

    def gone(self, language: str) -> Updates:
        """The server has seen this page go, or does not know it: it must open anew."""
        return {self.box: shown_html(None, language, gone=True)}


def shown_html(
    battle: Battle | None, language: str, *, voted: bool = False, gone: bool = False
) -> str:
    """Nothing of it tells more of a battle than that it is the same one as before."""
    told = {
        "shown": handle_of(battle.id) if battle else "",
        "voted": "1" if battle and voted else "",
        "gone": "1" if gone else "",
        "lost": say(language, "cut.lost"),
        "vote": say(language, "cut.vote"),
    }
    data = " ".join(f'data-{name}="{escape(value, quote=True)}"' for name, value in told.items())
    return f"<i {data}></i>"
