"""Our engines against the ways in which people run the same model, on one machine, in one run.

Each contestant has a process of its own, as many threads, the same prompt in the model's chat form
(each visitor's with a number of its own, so that nobody's whole prompt is kept from another), and
writes greedily. While one of them is measured, the others' processes are stopped. Memory is what
its processes hold together; a page that two of them share counts twice.

The answers have their full length: stop tokens are switched off, where that can be done. Over HTTP
that cannot be done, and the server's own count is taken.

The ONNX engine and llama.cpp both have 4 bits, but not the same ones: blocks of 32 numbers in both,
rounded anew in the one and as they lie in the package's file (Q4_1) in the other.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from arena.models.local.device import compute_threads
from arena.models.local.embedded import ensure_dense, ensure_onnx, find_gguf
from arena.settings import load_settings
from bench import engine_shape
from bench.crowd import Measured, figures, order, table, waves

ROOT = Path(__file__).resolve().parent.parent
TITLES = {
    "pipeline": "transformers `pipeline`, one after another, {dtype}",
    "generate": "`generate` with a streamer, one after another, {dtype}",
    "transformers": "our transformers engine, bare, {precision}",
    "onnx": "our ONNX engine, bare, int4",
    "app": "our ONNX engine through the app's HTTP, int4",
    "llama.cpp": "llama.cpp, one after another, Q4_1",
    "serve": "`transformers serve --continuous-batching`, f32",
}
ON_GPU = ("pipeline", "generate", "transformers")
PEERS = ("pipeline", "llama.cpp")
TASK = "Write a long story about a lighthouse keeper and the sea."
LONG_TOKENS = 1600
"""Length of the prompt that is read beside a running answer."""
SAMPLE_S = 0.2
AWAKE_S = 2.0
"""A contestant that stood still does first what it does when nobody asks; nobody waits for that."""


class Worker:
    """A contestant's process.

    Args:
        name: of the contestant.
        python: that runs it.
        plan: what it needs to know.
        log: where its output goes.
    """

    def __init__(self, name: str, python: str, plan: dict[str, Any], log: Path) -> None:
        self.name = name
        self._log = log
        threads = str(plan["threads"])
        env = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": str(ROOT),
        }
        with log.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                [python, "-m", "bench.engine_worker"], cwd=ROOT, env=env, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
            )  # fmt: skip
        self._tell({"name": name, **plan})
        self.facts: dict[str, str] = self._hear()["facts"]
        self._measured = int(self.facts.pop("pid", self._process.pid))

    def _tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"error": "it ended"}
        if "error" in found:
            words = self._log.read_text(errors="replace")[-3000:]
            raise SystemExit(f"{self.name}: {found['error']}\n{words}")
        return found

    def do(self, command: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Do it while the others stand still; what came of it, and MiB at the worst moment."""
        self._each(lambda process: process.resume())
        time.sleep(AWAKE_S)
        done = threading.Event()
        worst = [self._memory()]

        def look() -> None:
            while not done.wait(SAMPLE_S):
                worst.append(self._memory())

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            self._tell(command)
            found = self._hear()
        finally:
            done.set()
            watcher.join()
        self.rest()
        return found, max(worst) / 1024**2

    def rest(self) -> None:
        """Stand still."""
        self._each(lambda process: process.suspend())

    def _each(self, work: Callable[[psutil.Process], None]) -> None:
        for process in _tree(self._process.pid):
            try:
                work(process)
            except psutil.NoSuchProcess:
                continue

    def _memory(self) -> int:
        total = 0
        for process in _tree(self._measured):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def end(self) -> None:
        """End it and what it started."""
        self._each(lambda process: process.resume())
        tree = _tree(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        for process in psutil.wait_procs(tree, timeout=3)[1]:
            process.kill()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class Prompts:
    """Questions that differ in a number at their beginning, and in nothing else."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 -- transformers' own type
        self._tokenizer = tokenizer
        self._numbers = count(1000)

    def some(self, number: int) -> list[dict[str, Any]]:
        """So many, each of them new."""
        return [self._one(f"{next(self._numbers)}. {TASK}") for _ in range(number)]

    def long(self, tokens: int) -> dict[str, Any]:
        """One of about that length."""
        ids = self._one(" ".join([f"{next(self._numbers)}.", *[TASK] * (tokens // 8)]))["ids"]
        return {"text": "", "ids": ids[:tokens]}

    def _one(self, text: str) -> dict[str, Any]:
        from arena.domain import Message, Role
        from arena.models.local.chat_template import ChatText

        ids = ChatText(self._tokenizer, "bench").encode([Message(Role.USER, text)])
        return {"text": text, "ids": list(ids)}


def run(chosen: Any) -> str:  # noqa: ANN401 -- argparse's namespace
    """Measure, write the figures for a program if a file is named; the table."""
    # Told to end, it ends its contestants, too: standing still, they would not notice.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bound = bound_here(chosen)
    plan, prompts = prepared(chosen)
    names = contestants(chosen)
    planned = waves(chosen.visitors, chosen.stagger)
    with started(names, plan, chosen.llama_python) as workers:
        for name in names:  # what the first answer costs is no one's speed
            _wave(workers[name], prompts, 1, 0.0, 8)
        began = os.getloadavg()
        measured: list[Measured] = []
        for pair in range(chosen.pairs):
            for wave in planned:
                for name in order(names, pair):
                    rows, memory = _wave(
                        workers[name], prompts, wave.visitors, wave.stagger, chosen.tokens
                    )
                    measured.append(Measured(name, wave, pair, figures(rows, memory)))
                    _progress(measured[-1])
        gaps = {
            name: [_gap(workers[name], prompts) for _ in range(chosen.pairs)]
            for name in names
            if name in ("transformers", "onnx")
        }
        facts = {name: worker.facts for name, worker in workers.items()}
    titles = {name: TITLES[name].format(**facts[name]) for name in names}
    report = {
        "machine": machine(plan["threads"]),
        "tokens": chosen.tokens,
        "prompt_tokens": len(prompts.some(1)[0]["ids"]),
        "load_before": began,
        "contestants": {name: {"title": titles[name], **facts[name]} for name in names},
        **bound,
        "measured": [one.row() for one in measured],
        "gaps": gaps,
    }
    most = None
    if bound:
        prompt = report["prompt_tokens"]
        most = lambda wave: engine_shape.bound_of(bound, prompt, chosen.tokens, wave)  # noqa: E731
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return "\n".join(
        [heading(report, chosen), "", table(measured, titles, PEERS, most), "", *gap_lines(gaps)]
    )


def bound_here(chosen: Any) -> dict[str, float]:  # noqa: ANN401
    """What a step must read and how quickly the GPU reads; empty for the embedded model.

    Raises:
        SystemExit: a shape was asked for without a GPU, or without its random weights.
    """
    if not chosen.shape:
        return {}
    if not chosen.random_weights:
        raise SystemExit("--shape makes random weights: say so with --random-weights")
    engine_shape.need_gpu()
    sizes = engine_shape.sizes_in_memory(engine_shape.SHAPES[chosen.shape])
    return {**sizes, "bytes_per_s": engine_shape.bandwidth()}


def prepared(chosen: Any) -> tuple[dict[str, Any], Prompts]:  # noqa: ANN401
    """What every contestant is told, with the model's files made where they are missing."""
    from transformers import AutoTokenizer

    if chosen.shape:
        from tests.models.local.tiny_phi import tiny_tokenizer

        made = {"shape": engine_shape.SHAPES[chosen.shape], "device": "cuda", "dtype": "bfloat16"}
        tokenizer = tiny_tokenizer()  # type: ignore[no-untyped-call]
        return {**made, "threads": compute_threads(), "tokens": chosen.tokens}, Prompts(tokenizer)
    cache = load_settings().cache_dir.expanduser().resolve()
    folder = ensure_dense(cache, lambda *_: None).path
    ensure_onnx(cache, lambda *_: None)
    plan = {
        "cache": str(cache),
        "folder": str(folder),
        "gguf": str(find_gguf()),
        "threads": compute_threads(),
        "tokens": chosen.tokens,
    }
    return plan, Prompts(AutoTokenizer.from_pretrained(folder))


def contestants(chosen: Any) -> list[str]:  # noqa: ANN401
    """Those that were named, or all that can run here.

    Raises:
        SystemExit: a name is unknown, or llama.cpp was named and is not here.
    """
    if chosen.shape:
        return [name for name in ON_GPU if not chosen.only or name in chosen.only]
    llama = chosen.llama_python or find_spec("llama_cpp")
    if not chosen.only:
        return [name for name in TITLES if name != "llama.cpp" or llama]
    unknown = set(chosen.only) - set(TITLES)
    if unknown:
        raise SystemExit(f"--only: {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    if "llama.cpp" in chosen.only and not llama:
        raise SystemExit("llama.cpp: install llama-cpp-python, or name a Python: --llama-python")
    return [name for name in TITLES if name in chosen.only]


@contextmanager
def started(
    names: Sequence[str], plan: dict[str, Any], llama_python: str | None
) -> Iterator[dict[str, Worker]]:
    """Their processes, standing still."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers: dict[str, Worker] = {}
        for name in names:
            python = llama_python if name == "llama.cpp" and llama_python else sys.executable
            worker = Worker(name, python, plan, folder / f"{name}.log")
            stack.callback(worker.end)
            worker.rest()
            workers[name] = worker
        yield workers


def _wave(
    worker: Worker, prompts: Prompts, visitors: int, stagger: float, tokens: int
) -> tuple[list[dict[str, Any]], float]:
    found, memory = worker.do(
        {"do": "wave", "questions": prompts.some(visitors), "stagger": stagger, "tokens": tokens}
    )
    return found["rows"], memory


def _gap(worker: Worker, prompts: Prompts) -> dict[str, float]:
    questions = [*prompts.some(1), prompts.long(LONG_TOKENS)]
    found, _ = worker.do({"do": "gap", "questions": questions, "tokens": 400})
    return found


def _progress(one: Measured) -> None:
    words = f"{one.pair + 1} {one.contestant}: {one.wave.visitors} {one.wave.words}"
    print(f"{time.strftime('%X')} {words}, {one.figures.total:.1f} tok/s", file=sys.stderr)


def gap_lines(gaps: dict[str, list[dict[str, float]]]) -> list[str]:
    """A sentence on what a long prompt does to an answer that is being written."""
    from statistics import median

    parts = []
    for name, found in gaps.items():
        worst, before, read = (
            median(one[key] for one in found) for key in ("worst_s", "before_s", "read_s")
        )
        parts.append(f"{name} {worst:.2f} s (before it {before:.2f} s; it took {read:.1f} s)")
    if not parts:
        return []
    begin = f"Worst pause of a running answer while a prompt of {LONG_TOKENS} tokens is read: "
    return [begin + "; ".join(parts) + "."]


def machine(threads: int) -> dict[str, Any]:
    """Where it ran."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """As the system calls it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def heading(report: dict[str, Any], chosen: Any) -> str:  # noqa: ANN401
    """What was measured, where."""
    here = report["machine"]
    return (
        f"{chosen.shape or 'SmolLM2-135M'} on {here['cpu']}, {here['cores']} cores,"
        f" {here['threads']} thread(s) for each contestant; prompts of"
        f" {report['prompt_tokens']} tokens, answers of {report['tokens']}, greedy;"
        f" median of {chosen.pairs} pair(s). Load at the start:"
        f" {report['load_before'][0]:.1f}."
    )
