"""Visitors without a browser: Gradio's own protocol over HTTP, as its page speaks it.

An event is a POST to `queue/join`, or to `run` where the listener has no queue; what the queue says
comes as server-sent events.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

API = "/gradio_api"
Json = dict[str, Any]


class PageVisitor:
    """One open page of a browser of its own.

    Attributes:
        visitor: the browser's random id.
        session_hash: the page's random id.
    """

    def __init__(self, http: httpx.AsyncClient, config: Json) -> None:
        self.http = http
        self.visitor = secrets.token_hex(16)
        self.session_hash = secrets.token_hex(6)
        self._listeners: list[Json] = config["dependencies"]
        components: list[Json] = config["components"]
        self._props: dict[Any, Json] = {c["id"]: c["props"] for c in components}
        self._initial = {number: props.get("value") for number, props in self._props.items()}
        self._ids = {c["props"].get("elem_id"): c["id"] for c in components}

    def listener(self, element: str, event: str) -> Json:
        """The listener of that element's event; of the page itself for an empty name."""
        for one in self._listeners:
            for target, name in one["targets"]:
                known = target == self._ids.get(element) if element else name == event
                if known and name == event:
                    return one
        raise LookupError(f"{element}.{event}")

    def body(self, listener: Json, values: Mapping[str, Any], event_data: object = None) -> Json:
        """What the page sends for it; `values` by element, the others as they were at first."""
        given = {self._ids[name]: value for name, value in values.items()}
        data = [given.get(number, self._initial.get(number)) for number in listener["inputs"]]
        return {
            "data": data, "fn_index": listener["id"], "session_hash": self.session_hash,
            "event_data": event_data, "trigger_id": None,
        }  # fmt: skip

    async def open(self) -> None:
        """The page opens, and says who it is."""
        listener = self.listener("", "load")
        body = self.body(listener, {})
        body["data"] = [None, {"visitor": self.visitor, "language": "en", "accepts": "en"}]
        await self.post(listener, body)

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None, None]:
        """Keeps the connection by which the server knows that the page is open."""
        async with self.http.stream("GET", f"{API}/heartbeat/{self.session_hash}"):
            yield

    async def fire(
        self, element: str, event: str, values: Mapping[str, Any] | None = None
    ) -> list[Json]:
        """One event to its end; the messages about it."""
        listener = self.listener(element, event)
        return await self.post(listener, self.body(listener, values or {}))

    async def post(self, listener: Json, body: Json) -> list[Json]:
        """The same with a body of one's own."""
        async with aclosing(self.messages(listener, body)) as messages:
            return [message async for message in messages]

    async def messages(self, listener: Json, body: Json) -> AsyncGenerator[Json, None]:
        """What the server says about one event, as it comes.

        Raises:
            httpx.HTTPStatusError: the event was refused.
        """
        if not listener["queue"]:
            reply = await self.http.post(f"{API}/run/predict", json=body)
            reply.raise_for_status()
            yield {"msg": "process_completed", "success": True, "output": reply.json()}
            return
        joined = await self.http.post(f"{API}/queue/join", json=body)
        joined.raise_for_status()
        event = joined.json()["event_id"]
        params = {"session_hash": self.session_hash}
        async with self.http.stream("GET", f"{API}/queue/data", params=params) as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message: Json = json.loads(line[5:])
                if message.get("event_id") != event:
                    continue
                yield message
                if message["msg"] == "process_completed":
                    return


async def config_of(http: httpx.AsyncClient) -> Json:
    """What the page is made of."""
    found: Json = (await http.get("/config")).json()
    return found


def client(address: str) -> httpx.AsyncClient:
    """A client with as many connections as there are visitors, whose streams may be silent."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    timeout = httpx.Timeout(60, pool=None)
    return httpx.AsyncClient(base_url=address, limits=limits, timeout=timeout)
