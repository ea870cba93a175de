"""Settings from a mapping, without this machine's own variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from arena.settings import VARIABLES, Settings, load_settings

# How the variables begin that change a start.
OURS = (
    "ARENA_", "GEMINI_", "GOOGLE_", "GRADIO_", "HF_", "SSL_", "HTTP", "http", "ALL_PROXY", "NO_",
)  # fmt: skip


def settings_from(values: Mapping[str, str]) -> Settings:
    """The settings where only these of the arena's variables are set, and no `.env` is there."""
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with mock.patch.dict(os.environ, others | dict(values), clear=True):
        return load_settings(Path(os.devnull))


@contextmanager
def clean_environment() -> Iterator[None]:
    """None of the arena's variables is set at first; what is set inside is gone afterwards."""
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith(OURS)]:
            del os.environ[name]
        yield
