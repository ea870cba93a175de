"""One answer at a time with `generate`, in a thread of its own."""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteria
from transformers.generation.stopping_criteria import StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from arena.concurrency import GIVE_UP_S
from arena.errors.models import EngineCrashed, ModelError
from arena.models.local.engine import Foreign, TokenRequest, Tokens, finish_of
from arena.models.local.memory import engine_error
from arena.models.local.transformers.sampling import GenerateSampler

log = logging.getLogger(__name__)


def call_between_layers(model: Foreign, call: Callable[[], None]) -> list[Foreign]:
    """Call it before each layer of the model: what it raises cuts even a long prefill short.

    Returns:
        Handles, whose `remove` ends that.
    """
    lists = (m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) > 0)
    return [layer.register_forward_pre_hook(lambda *_: call()) for layer in next(lists, [])]


def clone_sharing_weights(model: Foreign) -> Foreign:
    """A second model object over the same weights, with a config and buffers of its own.

    Two threads must not run one model object: the forward pass changes the config that its
    layers share, and LongRoPE its buffers. Parameters are handed to `deepcopy` as already copied.
    """
    shared = {id(parameter): parameter for parameter in model.parameters()}
    return copy.deepcopy(model, dict(shared))


class _Cancelled(Exception):
    """The reader has gone."""


@dataclass(slots=True)
class Job:
    """A request, what hands its tokens to the reader, and whether the reader has left."""

    request: TokenRequest
    push: Callable[[Tokens | ModelError], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


class _Streamer(BaseStreamer):
    """Passes tokens on as they come; the first call brings the prompt."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._prompt_seen = False
        self.last: int | None = None

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        ids = value.flatten().tolist()
        self.last = ids[-1]
        self._job.push(Tokens(ids))

    def end(self) -> None:
        """The runner tells the reader how it ended."""


class _StopWhenCancelled(StoppingCriteria):
    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, input_ids: torch.Tensor, scores: Foreign, **_: Foreign) -> torch.Tensor:
        stop = self._job.cancelled.is_set()
        return torch.full((input_ids.shape[0],), stop, device=input_ids.device, dtype=torch.bool)


class GenerateRunner:
    """Owns a model object and the only thread that runs it.

    Args:
        model: used by nothing else.
        device: `cuda` or `cpu`.
    """

    def __init__(self, model: Foreign, device: str) -> None:
        self._model = model
        self._device = device
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: Job | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        call_between_layers(model, self._leave_if_cancelled)

    def _leave_if_cancelled(self) -> None:
        job = self._current
        if job is not None and job.cancelled.is_set():
            raise _Cancelled

    def start(self) -> None:
        """Start the thread if it does not run."""
        self._stopped = False
        if self.alive:
            return
        self._thread = threading.Thread(target=self._work, name="generate", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs, so that tokens may still come."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, request: TokenRequest, push: Callable[[Tokens | ModelError], None]) -> Job:
        """Queue a request behind the others; returns at once.

        Args:
            request: the answer to write.
            push: takes its tokens, or the error that ends it, from the runner's thread.

        Raises:
            EngineCrashed: the runner was stopped.
        """
        if self._stopped:
            raise EngineCrashed("the generate thread is stopped")
        job = Job(request, push)
        self._jobs.put(job)
        return job

    def stop(self) -> None:
        """End the thread after at most a layer of the model; waiting requests fail."""
        self._stopped = True
        current, thread = self._current, self._thread
        if current is not None:
            current.cancelled.set()
        if thread is not None and thread.is_alive():
            self._jobs.put(None)
            thread.join(timeout=GIVE_UP_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._stopped:
                job.push(EngineCrashed("the generate thread is stopped"))
                continue
            self._current = job
            self._run(job)
            self._current = None

    def _run(self, job: Job) -> None:
        """Run it; whatever happens, the reader is told of the end."""
        if job.cancelled.is_set():
            return
        streamer = _Streamer(job)
        try:
            self._generate(job, streamer)
        except _Cancelled:
            job.push(EngineCrashed("cancelled"))
        except Exception as error:
            log.warning("an answer of generate failed", exc_info=error)
            job.push(engine_error(error, self._device))
        else:
            job.push(Tokens([], finish_of(job.request, streamer.last)))

    def _generate(self, job: Job, streamer: _Streamer) -> None:
        request = job.request
        ids = torch.tensor([list(request.ids)], device=self._model.device)
        stop_ids = sorted(request.stop_ids)
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=request.max_new_tokens,
            eos_token_id=stop_ids or None,
            pad_token_id=stop_ids[0] if stop_ids else 0,
        )
        sampler = GenerateSampler(
            temperature=request.temperature, top_p=request.top_p, seed=request.seed
        )
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([sampler]),
            stopping_criteria=StoppingCriteriaList([_StopWhenCancelled(job)]),
            streamer=streamer,
        )
