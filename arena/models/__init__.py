"""Contestants: whatever turns messages into a stream of text.

base.py: what every model looks like from outside.
registry.py: all contestants, how they start, and how pairs are drawn.
variant.py: a contestant that shares another one's weights.
models_file.py: the entries of ARENA_MODELS.
throughput.py: how fast a model writes now.
local/: models whose weights are on this machine.
remote/: models behind an API.
"""
