"""An arena that compares a small local language model with a cloud one.

__main__.py, cli.py: the commands of `python -m arena`.
interrupt.py: Ctrl-C before anything has begun.
doctor.py: what this machine has for the arena, and the remedy for each gap.
ui/: the page, the public API, health, tables for the terminal.
leaderboard/: every number that page, terminal and programs show.
battle/: who may begin, a running battle, its two streams, the vote.
dataset/: votes as a dataset: export, import, the copy on the Hub.
store/: battles, votes, caps and budgets in SQLite or Postgres.
models/: one contract for all models, local and remote.
stats/: pure calculations: arrays in, frozen results out.
preflight.py: what would stop a start, or surprise the owner at it.
blind.py: what a browser may see of a battle before its vote.
settings.py: every setting, read from the environment and `.env`.
env_file.py: the file `.env`, and its lines that set nothing.
presets.py: the example prompts of `prompts/`.
domain.py: the core types.
errors/: the typed errors, each with a sentence and a remedy.
telemetry.py: libraries send nothing to their makers; turned off here, before any is imported.
concurrency.py: threads beside the event loop, and work that a cancelled task waits for.
"""

from arena.telemetry import turn_off

turn_off()
