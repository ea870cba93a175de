"""How well the side of the remote model is told before the vote, from what the page is sent.

A curious visitor sees when each pane's text grows and by how much. Each such feature, and a
classifier of all of them, is measured by its area under the ROC curve (AUC): 0.5 is guessing, and
0 and 1 are certain. Real battles: the app over Gradio's queue, the embedded SmolLM2 against a
loopback stand-in of Gemini, which is paced like a remote model and says what SmolLM2 wrote to other
questions. So the texts tell nothing, and what is told is told by time.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
from numpy.typing import NDArray

from tests.models.remote.gemini_server import GeminiServer, chunk
from tests.models.remote.loopback import Pause, Reply, Request, Step, in_a_thread

SEED = 20261129
VISITORS = 4
WARM_UP = 12
TOKENS = (8, 48)
RESAMPLES, FOLDS = 2000, 10
TOPICS = ("the sea", "bread", "a lighthouse", "rain", "old maps", "bicycles", "tea", "a piano")

Floats = NDArray[np.float64]


@dataclass
class Trace:
    """What one page was sent of one battle.

    Attributes:
        remote_left: the remote model is on side a.
        sent: seconds since the prompt, and how many characters each pane then shows.
        ended: when voting opened.
    """

    remote_left: bool = False
    sent: list[tuple[float, int, int]] = field(default_factory=list)
    ended: float = 0.0

    @property
    def first(self) -> float:
        """When the first text was seen, in either pane."""
        return min(when for when, *counts in self.sent if any(counts))


def growth(trace: Trace, pane: int) -> tuple[list[float], list[int]]:
    """When a pane's text grew, and by how many characters."""
    grown = [
        (after[0], after[1 + pane] - before[1 + pane])
        for before, after in pairwise([(0.0, 0, 0), *trace.sent])
        if after[1 + pane] > before[1 + pane]
    ]
    return [when for when, _ in grown], [count for _, count in grown]


def of_pane(trace: Trace, pane: int) -> dict[str, float]:
    """What can be seen of one side."""
    when, counts = growth(trace, pane)
    gaps = [b - a for a, b in pairwise(when)]
    return {
        "first text": when[0],
        "last text": when[-1],
        "updates": len(counts),
        "characters an update": float(np.mean(counts)),
        "largest update": max(counts),
        "characters a second": sum(counts[1:]) / max(when[-1] - when[0], 0.1),
        "longest gap": max(gaps, default=0.0),
        "length (told by the text)": sum(counts),
    }


def of_rest(trace: Trace) -> dict[str, float]:
    """How the longer text goes on past the shorter one's end; its sign says which one it is."""
    grown = [growth(trace, pane) for pane in (0, 1)]
    lengths = [sum(counts) for _, counts in grown]
    longer = int(lengths[1] > lengths[0])
    sign = 1.0 - 2.0 * longer
    when, counts = grown[longer]
    end = grown[1 - longer][0][-1]
    rest = [(at, count) for at, count in zip(when, counts, strict=True) if at > end]
    gaps = [b - a for (a, _), (b, _) in pairwise(rest)]
    head = sum(counts) - sum(count for _, count in rest)
    seconds = max((rest[-1][0] if rest else end) - end, 0.1)
    pace = sum(count for _, count in rest) / seconds
    return {
        "pace of the rest": sign * pace / max(head / max(end - when[0], 0.1), 1.0),
        "longest gap in the rest": sign * max(gaps, default=0.0),
        "wait before the rest": sign * ((rest[0][0] if rest else end) - end),
        "time of the whole": sign * trace.ended,
    }  # fmt: skip


def features(trace: Trace) -> dict[str, float]:
    """All of one battle: side a less side b, and what follows the shorter text."""
    a, b = of_pane(trace, 0), of_pane(trace, 1)
    return {name: a[name] - b[name] for name in a} | of_rest(trace)


# --- figures ------------------------------------------------------------------------------------


def auc(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """The chance that a battle with the label scores above one without; ties count half."""
    order = np.argsort(scores, kind="stable")
    values, starts, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks = np.repeat(starts + (counts + 1) / 2, counts)
    assert len(values) == len(counts)
    yes = int(labels.sum())
    won = ranks[labels[order]].sum() - yes * (yes + 1) / 2
    return float(won / (yes * (len(labels) - yes)))


def interval(scores: Floats, labels: NDArray[np.bool_], rng: np.random.Generator) -> Interval:
    """The AUC with its 95% interval, by bootstrap over battles."""
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(labels), len(labels))
        if 0 < labels[drawn].sum() < len(labels):
            found.append(auc(scores[drawn], labels[drawn]))
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(auc(scores, labels), float(low), float(high))


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def fitted(rows: Floats, labels: NDArray[np.bool_], penalty: float = 1.0) -> Floats:
    """Logistic regression by Newton's method; the intercept, which is not penalised, comes last."""
    design = np.column_stack([rows, np.ones(len(rows))])
    weights = np.zeros(design.shape[1])
    ridge = np.diag([penalty] * rows.shape[1] + [1e-9])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (labels - chance) - ridge @ weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        weights = weights + np.linalg.solve(curve, slope)
    return weights


def out_of_fold(rows: Floats, labels: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Each battle's score by a classifier that has not seen it."""
    scores = np.zeros(len(rows))
    for fold in np.array_split(rng.permutation(len(rows)), FOLDS):
        seen = np.setdiff1d(np.arange(len(rows)), fold)
        mean, spread = rows[seen].mean(axis=0), rows[seen].std(axis=0)
        scaled = (rows - mean) / np.where(spread > 0, spread, 1)
        weights = fitted(scaled[seen], labels[seen])
        scores[fold] = np.column_stack([scaled[fold], np.ones(len(fold))]) @ weights
    return scores


def told(traces: Sequence[Trace]) -> dict[str, Interval]:
    """The AUC of each feature and of the classifier."""
    rng = np.random.default_rng(SEED)
    seen = [features(trace) for trace in traces]
    labels = np.array([trace.remote_left for trace in traces])
    columns = {name: np.array([one[name] for one in seen]) for name in seen[0]}
    found = {name: interval(values, labels, rng) for name, values in columns.items()}
    by_time = [values for name, values in columns.items() if "told by the text" not in name]
    scores = out_of_fold(np.column_stack(by_time), labels, rng)
    return found | {"classifier of all times": interval(scores, labels, rng)}


def table(live: Sequence[Trace], even: Sequence[Trace]) -> str:
    """Both cadences side by side, and what the second one costs."""
    shown, paced = told(live), told(even)
    rows = [f"| {name} | {shown[name]} | {paced[name]} |" for name in shown]
    waits = {
        "first text, s": [np.median([t.first for t in traces]) for traces in (live, even)],
        "vote opens, s": [np.median([t.ended for t in traces]) for traces in (live, even)],
    }
    costs = [f"| {name}, median | {a:.2f} | {b:.2f} |" for name, (a, b) in waits.items()]
    head = [f"| {len(live)} and {len(even)} battles | `live` | `even` |", "|---|---|---|"]
    return "\n".join([*head, *rows, *costs])


# --- battles ------------------------------------------------------------------------------------


def remote_pace(rng: random.Random, text: str) -> list[tuple[float, str]]:
    """A remote model's chunks, each with the silence before it, in seconds."""
    parts, rest = [(rng.uniform(0.4, 1.2), "")], text
    while rest:
        size = rng.randint(30, 120)
        parts.append((rng.uniform(0.08, 0.3), rest[:size]))
        rest = rest[size:]
    return parts


class PacedGemini(GeminiServer):
    """Says what the local model wrote to other questions, at a remote model's pace."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(SEED)  # noqa: S311 -- an experiment
        self.pool = ["Bread is made of flour, water and salt. It is baked in a hot oven. " * 2]
        self.guard = threading.Lock()

    def _reply_to(self, request: Request) -> Reply:
        if not request.for_text:
            return super()._reply_to(request)
        with self.guard:
            parts = remote_pace(self.rng, self.rng.choice(self.pool))
        steps: list[Step] = [Pause(parts[0][0])]
        for silence, text in parts[1:]:
            steps += [Pause(silence), chunk(text)]
        return Reply([*steps, chunk(finish="STOP", usage=(7, 5, 3))])


class Visitor:
    """Sends questions through the page's own Send, over Gradio's queue."""

    def __init__(self, url: str) -> None:
        from bench.engine_http import SendButton

        self._send = SendButton(url)
        self._panes = [self._send.outputs.index(f"pane-{side}") for side in "ab"]

    def battle(self, text: str, tokens: int) -> Trace:
        """One battle to its end."""
        values = {
            "prompt": text, "mode": "blind", "use-gemini": True, "temperature": 0.7,
            "max-new-tokens": tokens,
        }  # fmt: skip
        began, trace, counts = time.perf_counter(), Trace(), [0, 0]
        for data in self._updates(values):
            now = time.perf_counter() - began
            counts = [
                self._shown(data[pane], before)
                for pane, before in zip(self._panes, counts, strict=True)
            ]
            trace.sent.append((now, counts[0], counts[1]))
            trace.ended = now
        return trace

    def _updates(self, values: dict[str, Any]) -> Iterator[list[Any]]:
        """The page's values after each update: the whole first, then what changed."""
        from gradio_client.utils import apply_diff

        data: list[Any] = []
        for event in self._send.press(values):
            found = (event.get("output") or {}).get("data") or []
            if event["msg"] == "process_generating":
                assert event["success"], event
                changed = zip(data, found, strict=True) if data else ()
                data = [apply_diff(before, diff) for before, diff in changed] or found
                yield data
            if event["msg"] == "process_completed":
                assert event["success"], event

    @staticmethod
    def _shown(pane: Any, before: int) -> int:  # noqa: ANN401 -- as Gradio sends it
        """How many characters of an answer; an update without its text changes none."""
        return len(pane) if isinstance(pane, str) else before


def both_ready(url: str) -> bool:
    """Whether both contestants answer; a busy disk makes the health a failure for a moment."""
    from bench.engine_http import read_json

    try:
        return bool(read_json(f"{url}/health")["ready"])
    except HTTPError:
        return False


def battles(
    cadence: str, number: int, minutes: float, cache: Path, warm_up: int = WARM_UP
) -> list[Trace]:
    """So many battles on an app of its own, four at once, as far as the time allows."""
    from bench.engine_http import LIMITS, MANY
    from tests.browser.conftest import end, serve, wait_until

    draws = random.Random(SEED)  # noqa: S311 -- an experiment
    questions = [
        (f"Write about {draws.choice(TOPICS)}, please, number {count}.", draws.randint(*TOKENS))
        for count in range(warm_up + number)
    ]
    with in_a_thread(PacedGemini()) as gemini, tempfile.TemporaryDirectory() as folder:
        served = serve(
            Path(folder), cache, ARENA_LOCAL_MODEL="embedded", ARENA_LOCAL_ENGINE="onnx",
            GEMINI_API_KEY="test-key-of-nobody", GEMINI_BASE_URL=gemini.url,
            GEMINI_DAILY_REQUESTS=MANY, ARENA_BLIND_CADENCE=cadence, ARENA_MAX_NEW_TOKENS="64",
            **{f"ARENA_MAX_{name}": MANY for name in LIMITS},
        )  # fmt: skip
        url = served.url.rstrip("/")

        def play(question: tuple[str, int]) -> Trace | None:
            if time.monotonic() > until:
                return None
            trace = visitor.battle(*question)
            query = (
                "select json_extract(spec_a, '$.provider') = 'google',"
                " json_extract(conversation_a, '$[0].answer.text'),"
                " json_extract(conversation_b, '$[0].answer.text') from battles"
                " where json_extract(conversation_a, '$[0].prompt') = ?"
            )
            ((left, a, b),) = served.rows(query, question[0])
            trace.remote_left = bool(left)
            with gemini.guard:
                gemini.pool.append(b if left else a)
            return trace

        try:
            wait_until(lambda: both_ready(url), 300, "both models")
            visitor = Visitor(url)
            until = time.monotonic() + 60 * minutes
            with ThreadPoolExecutor(VISITORS) as visitors:
                found = list(visitors.map(play, questions))[warm_up:]
                return [trace for trace in found if trace is not None]
        finally:
            end(served)


def run(number: int, minutes: float, cache: Path) -> str:
    """The table."""
    live, even = (battles(cadence, number, minutes, cache) for cadence in ("live", "even"))
    return table(live, even)
