"""Continuous batching of transformers: one batch and one KV cache for all requests.

Its own scheduler takes more requests than the cache holds to their end, and throws some out when
it is full; one that then fits nowhere ends the generation thread. So requests are admitted here.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

import torch
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.requests import RequestStatus

from arena.concurrency import GIVE_UP_S
from arena.errors.models import EngineCrashed, ModelError, NotFinite
from arena.models.local.engine import Foreign, Sink, TokenRequest, Tokens, finish_of
from arena.models.local.memory import (
    BLOCK,
    MAX_RUNNING,
    CachePlan,
    engine_error,
)
from arena.models.local.transformers.sampling import (
    BatchNoise,
    BatchNucleus,
    BatchTemperature,
    check_finite,
    sampling_values,
    take_best,
)
from arena.models.local.transformers.semaphore import WeightedSemaphore
from arena.models.local.transformers.single import call_between_layers

log = logging.getLogger(__name__)

WARM_UP_S = 120.0
MEMORY_SHARE = 0.95
"""Of the GPU's memory, which transformers lets the planned cache take."""


def blocks_for(request: TokenRequest) -> int:
    """Blocks of the KV cache that the request may come to need."""
    return -(-request.total_tokens // BLOCK)


class _Stopped(Exception):
    """The runner stops, and its thread leaves the step that it is in."""


class _Router:
    """Takes the place of the manager's own router.

    That one keeps outputs of requests that are no longer read, sends a whole batch to the event
    loop of one of them, and fails all answers if that loop is closed.
    """

    def __init__(self, on_failure: Callable[[Foreign, Exception], None]) -> None:
        self._deliver: dict[str, Callable[[Foreign], None]] = {}
        self._on_failure = on_failure

    def register(self, request_id: str, deliver: Callable[[Foreign], None]) -> None:
        self._deliver[request_id] = deliver

    def forget(self, request_id: str) -> None:
        self._deliver.pop(request_id, None)

    def deliver(self, output: Foreign) -> None:
        deliver = self._deliver.get(output.request_id)
        if deliver is not None:
            deliver(output)

    def deliver_batch(self, outputs: list[Foreign]) -> None:
        for output in outputs:
            self.deliver(output)

    def fail_and_deliver(self, state: Foreign, error: Exception) -> None:
        state.status = RequestStatus.FAILED
        state.error = str(error)
        self._on_failure(state, error)


class ContinuousBatchRunner:
    """Owns the manager and its thread.

    Args:
        model: used by nothing else: the manager changes its config while it runs.
        plan: size of the KV cache.
        on_crash: called from the generation thread when it dies.
    """

    def __init__(
        self, model: Foreign, plan: CachePlan, device: str, on_crash: Callable[[ModelError], None]
    ) -> None:
        self._model = model
        self._plan = plan
        self._device = device
        self._on_crash = on_crash
        self._manager: Foreign = None
        self._sinks: dict[str, Sink] = {}
        self._router = _Router(self._failed)
        self._crashed = False
        self._stopping = False
        self._hooks: list[Foreign] = []
        self.cache_tokens = plan.tokens
        self.semaphore = WeightedSemaphore(plan.blocks, MAX_RUNNING)

    def start(self) -> None:
        """Make the cache, start the thread, and let it write two tokens; blocks.

        Raises:
            Exception: whatever kept it from working.
        """
        self._crashed = self._stopping = False
        self._manager = self._make_manager()
        try:
            with torch.no_grad():
                self._manager.warmup()
            self.cache_tokens = int(self._manager.batch_processor.cache.num_blocks) * BLOCK
            self._leave_a_step_when_stopping()
            self._manager.start()
            self._warm_up()
        except BaseException:
            self.stop()
            raise
        self.semaphore = WeightedSemaphore(self.cache_tokens // BLOCK, MAX_RUNNING)

    def _make_manager(self) -> Foreign:
        config = ContinuousBatchingConfig(
            page_size=BLOCK,
            num_blocks=self._plan.blocks,
            max_batch_tokens=self._plan.max_batch_tokens,
            max_requests_per_batch=MAX_RUNNING,
            max_memory_percent=MEMORY_SHARE,
            # The semaphore keeps the cache from overflowing, so no margin has to stay empty.
            safety_margin=0.0,
            per_request_processors=True,
            auto_switch_to_flash=False,
            return_logprobs=True,  # the place of the best scores, see `take_best`
        )
        # Greedy, since the noise does the sampling; the stop tokens come with each request.
        generation = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, eos_token_id=-1, max_new_tokens=1
        )
        manager = self._model.init_continuous_batching(
            generation_config=generation, continuous_batching_config=config
        )
        processors = manager.logit_processor
        processors.logits_processor = LogitsProcessorList(
            [BatchTemperature(), BatchNucleus(), BatchNoise()]
        )
        processors.tensors_required = 3
        processors.do_processing = True
        processors._retrieve_processors_kwargs()
        manager.output_router = self._router
        # Made here and not by `warmup`, which may record what is called at each step.
        manager.batch_processor = manager._create_batch_processor()
        manager.batch_processor.model_runner._sample = take_best
        return manager

    def _leave_a_step_when_stopping(self) -> None:
        """A step of a CPU may take seconds, and between two of them would be too late."""
        if self._device != "cpu":  # elsewhere it is quick, and recorded as a graph without hooks
            return
        manager = self._manager
        body = manager._generation_loop_body

        def leave() -> None:
            if self._stopping:
                raise _Stopped

        def body_to_the_end(*args: Foreign, **kwargs: Foreign) -> bool:
            try:
                return bool(body(*args, **kwargs))
            except _Stopped:
                return False

        manager._generation_loop_body = body_to_the_end
        self._hooks = call_between_layers(self._model, leave)

    def _warm_up(self) -> None:
        done: queue.Queue[Foreign] = queue.Queue()
        self._router.register("warm-up", done.put)
        try:
            self._manager.add_request(
                [0, 0], "warm-up", max_new_tokens=2, temperature=1.0, top_p=0.9, seed=0
            )
            output = done.get(timeout=WARM_UP_S)
        except queue.Empty:
            raise EngineCrashed("the warm-up did not end") from None
        finally:
            self._router.forget("warm-up")
        if output.status != RequestStatus.FINISHED:
            raise EngineCrashed(f"the warm-up failed: {output.error}")
        for best in output.logprobs:
            check_finite(best)

    @property
    def running(self) -> bool:
        """Whether the generation thread lives."""
        return self._manager is not None and not self._crashed and bool(self._manager.is_running())

    def submit(self, request_id: str, request: TokenRequest, sink: Sink) -> None:
        """Begin to write an answer; returns at once.

        Raises:
            EngineCrashed: the thread is dead.
        """
        seen = 0

        def deliver(output: Foreign) -> None:
            nonlocal seen
            fresh = output.generated_tokens[seen:]
            try:
                for best in output.logprobs[seen:]:
                    check_finite(best)
            except NotFinite as error:
                self.cancel(request_id)
                sink.push(error)
                return
            seen += len(fresh)
            finished = output.status == RequestStatus.FINISHED
            last = output.generated_tokens[-1] if output.generated_tokens else None
            sink.push(Tokens(fresh, finish_of(request, last) if finished else None))

        temperature, seed = sampling_values(request.temperature, request.seed)
        self._router.register(request_id, deliver)
        self._sinks[request_id] = sink
        accepted = self._manager.add_request(
            list(request.ids),
            request_id,
            max_new_tokens=request.max_new_tokens,
            streaming=True,
            eos_token_id=sorted(request.stop_ids),
            temperature=float(temperature),
            top_p=float(request.top_p),
            seed=int(seed),
        )
        if accepted is None:
            self.forget(request_id)
            raise EngineCrashed("the generation thread takes no requests")

    def forget(self, request_id: str) -> None:
        """Its tokens are no longer read."""
        self._router.forget(request_id)
        self._sinks.pop(request_id, None)

    def cancel(self, request_id: str) -> None:
        """Stop writing it: its slot in the batch is free at the next step."""
        self.forget(request_id)
        if self._manager is not None:
            self._manager.cancel_request(request_id)

    def _failed(self, state: Foreign, error: Exception) -> None:
        """In the generation thread: a request failed, nearly always since the thread dies."""
        typed = engine_error(error, self._device)
        if not self._stopping and not self._crashed and self._dying():
            self._crashed = True
            log.error("the generation thread died: %s", typed.detail)
            # Before the readers are told, so that none of them still finds the model ready.
            self._on_crash(typed)
        sink = self._sinks.get(state.request_id)
        if sink is not None:
            sink.push(typed)
        else:
            self._router.deliver(state.to_generation_output())

    def _dying(self) -> bool:
        manager = self._manager
        if manager is None:  # another thread is stopping it
            return False
        status = manager.background_thread_status
        return bool(status.local_status != status.DONT_STOP)

    def stop(self) -> None:
        """End the thread and free the cache; blocks for a layer of the model, on a GPU a step."""
        self._stopping = True
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.stop(block=True, timeout=GIVE_UP_S, hard_stop=True)
            manager.destroy()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
