"""How the leaderboard names contestants. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from arena.domain import ModelName
from arena.stats.vote_table import Contestant

# What the answers of a made-up contestant say served them. It is part of who a contestant is, so a
# simulated vote can never be added to a real one.
SIMULATED: Final = "(simulated)"


def tell_apart(
    contestants: tuple[Contestant, ...], names: Mapping[str, ModelName]
) -> dict[Contestant, ModelName]:
    """Names that are all different: those of one label get what served them, then their id."""
    plain = {who: names.get(who.id, ModelName(who.id)) for who in contestants}
    names_of = dict(plain)
    # Each round tells apart those that the last one left alike; id and served model always do.
    ways: tuple[Callable[[Contestant], str], ...] = (
        lambda who: who.served_model,
        lambda who: f"{who.id}, {who.served_model}",
    )
    for more in ways:
        labels = [name.label for name in names_of.values()]
        for who, name in plain.items():
            if labels.count(names_of[who].label) > 1 and more(who):
                names_of[who] = ModelName(f"{name.label} ({more(who)})", name.local)
    return names_of
