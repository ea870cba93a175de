"""Reads our exports with the tools that they are meant for, each in its newest version.

Their pins are not ours, so each gets an environment of its own below the arena's cache folder; the
one with TRL sees this environment's torch and transformers and adds to them. The votes are
simulated. Nothing is loaded from the Hub.

1. `datasets` loads every shape in JSON Lines and Parquet, and a folder by its card.
2. `arena-rank` fits its ratings to the shape `lmarena-140k`.
3. TRL takes one DPO step with the embedded model on the shape `dpo`; its weights must move.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from arena.dataset.export import ExportShape, FileFormat, card_path, export
from arena.domain import Battle, Side
from arena.models.local.embedded import ensure_dense
from arena.settings import load_settings
from arena.store.store import VoteStore
from bench.simulated_votes import MODELS, battle_and_vote

TRL = ("trl==1.16.0", "datasets==5.2.0")
RANK = ("arena-rank==0.1.1", "pyarrow==26.0.1")
VOTES = 60

_DATASETS = """
import sys
from pathlib import Path
import datasets
folder = Path(sys.argv[1])
print("datasets", datasets.__version__)
for file in sorted(folder.glob("*.parquet")) + sorted(folder.glob("*.jsonl")):
    kind = "parquet" if file.suffix == ".parquet" else "json"
    made = datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=sys.argv[2])
    print(f"  {file.name}: {made.num_rows} rows, {len(made.column_names)} columns")
made = datasets.load_dataset(str(folder / "by-card"), split="train", cache_dir=sys.argv[2])
print(f"  by its card: {made.num_rows} rows; first prompt {made[0]['prompt']}")
"""
_RANK = """
import sys
from importlib.metadata import version
import pandas
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.utils.data_utils import PairDataset
rows = pandas.read_parquet(sys.argv[1])
pairs = PairDataset.from_pandas(rows)
model = BradleyTerry(n_competitors=len(pairs.competitors))
found = model.compute_ratings_and_cis(pairs, significance_level=0.05)
print("arena-rank", version("arena-rank"), f"on {len(rows)} votes")
print({name: [round(float(x)) for x in values] if name != "competitors" else list(values)
       for name, values in found.items() if name in ("competitors", "ratings")})
"""
_DPO = """
import sys
import datasets, torch, trl
from transformers import AutoModelForCausalLM, AutoTokenizer
rows = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.float32)
before = {name: value.detach().clone() for name, value in model.named_parameters()}
wanted = trl.DPOConfig(
    output_dir=sys.argv[3] + "/out", max_steps=1, per_device_train_batch_size=2, max_length=128,
    learning_rate=1e-4, warmup_steps=0, use_cpu=True, bf16=False, gradient_checkpointing=False,
    report_to=[], logging_steps=1, save_strategy="no", disable_tqdm=True,
)
trainer = trl.DPOTrainer(
    model=model, args=wanted, train_dataset=rows.select(range(4)), processing_class=tokenizer
)
result = trainer.train()
moved = sum(bool((value != before[name]).any()) for name, value in model.named_parameters())
print(f"TRL {trl.__version__}: one DPO step on {len(rows)} pairs, loss {result.training_loss:.4f}, "
      f"gradient norm {trainer.state.log_history[0]['grad_norm']}, "
      f"{moved} of {len(before)} tensors moved")
assert moved and float(trainer.state.log_history[0]["grad_norm"]) > 0.1, "nothing was learned"
"""


def run(_chosen: object) -> str:
    """Makes what is missing, then runs all three; what each of them printed."""
    folder = load_settings().cache_dir / "consumers"
    folder.mkdir(parents=True, exist_ok=True)
    trl = environment(folder / "trl", TRL, sees_this=True)
    rank = environment(folder / "arena-rank", RANK, sees_this=False)
    parts: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        asyncio.run(write_exports(work))
        dense = ensure_dense(load_settings().cache_dir, lambda _step, _share: None).path
        cache = str(work / "cache")
        parts.append(consumed(trl, _DATASETS, str(work), cache))
        parts.append(consumed(rank, _RANK, str(work / "lmarena-140k.parquet")))
        parts.append(consumed(trl, _DPO, str(work / "dpo.jsonl"), str(dense), cache))
    return "\n".join(parts)


async def write_exports(folder: Path) -> None:
    """Every shape in both formats, from simulated votes; `dpo` also as a folder with its card."""
    rng = random.Random(1)  # noqa: S311
    store = await asyncio.to_thread(VoteStore.open, f"sqlite:///{folder / 'arena.db'}")
    for _ in range(VOTES):
        battle, vote = battle_and_vote(list(MODELS), rng, datetime.now(UTC))
        for side in battle.sides:
            battle = with_words(battle, side, rng)
        await store.add_battle(battle)
        await store.cast_vote(vote)
    for shape in ExportShape:
        for kind in (FileFormat.JSONL, FileFormat.PARQUET):
            report = await export(
                store, folder / f"{shape}.{kind}", shape=shape, file_format=kind, mask=True
            )
            print(report.text, flush=True)
    by_card = folder / "by-card"
    target = by_card / "dpo.parquet"
    await export(store, target, shape=ExportShape.DPO, file_format=FileFormat.PARQUET)
    await asyncio.to_thread(card_path(target).rename, by_card / "README.md")
    await store.aclose()


def with_words(battle: Battle, side: Side, rng: random.Random) -> Battle:
    """The battle with an answer that tells the sides apart: equal ones would teach nothing."""
    (turn,) = battle.conversation(side)
    assert turn.answer is not None
    text = f"{battle.spec(side).label} answers {rng.randrange(1000)}."
    return battle.with_conversation(side, (replace(turn, answer=replace(turn.answer, text=text)),))


def environment(folder: Path, packages: tuple[str, ...], *, sees_this: bool) -> Path:
    """The Python of an environment with these packages, made if it is not there."""
    python = folder / "bin" / "python"
    mark = folder / "installed.txt"
    wanted = "\n".join(packages)
    if mark.exists() and mark.read_text() == wanted:
        return python
    print(f"making {folder}: {', '.join(packages)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603
    if sees_this:
        ours = sysconfig.get_path("purelib")
        (found,) = folder.glob("lib/python*/site-packages")
        (found / "arena.pth").write_text(ours + "\n")
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)  # noqa: S603
    mark.write_text(wanted)
    return python


def consumed(python: Path, code: str, *arguments: str) -> str:
    """What that program printed, with the seconds it took.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603
        [str(python), "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": ""},
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr[-3000:]}")
    return f"{done.stdout.rstrip()}  [{time.monotonic() - started:.0f} s]"
