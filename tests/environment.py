"""Settings from a mapping, without this machine's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from arena.settings import VARIABLES, Settings, load_settings


def settings_from(values: Mapping[str, str]) -> Settings:
    """The settings where only these of the arena's variables are set, and no `.env` is there."""
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with mock.patch.dict(os.environ, others | dict(values), clear=True):
        return load_settings(Path(os.devnull))
