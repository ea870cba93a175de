"""The APIs of remote models, each behind its own loopback server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.models.remote.apis import Api, GeminiApi, OpenAiApi, running


@pytest.fixture(params=["gemini", "openai"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """Each API in turn."""
    async with running(request.param) as started:
        yield started


@pytest.fixture
async def gemini() -> AsyncIterator[GeminiApi]:
    async with running("gemini") as started:
        yield started


@pytest.fixture
async def openai() -> AsyncIterator[OpenAiApi]:
    async with running("openai") as started:
        yield started
