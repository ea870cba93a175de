"""Runs a model with ONNX Runtime in its own process: the fastest way on a CPU, with 4-bit weights.

folder.py: which ONNX folder of a repository to take, and what it says about the model.
build.py: makes a 4-bit folder out of a dense model.
load.py: whether a model runs on ONNX Runtime here, and what it takes to start it.
engine.py: the engine that the arena sees: size of the cache and of a prefill chunk, start, answers.
client.py: the arena's side of the worker process.
protocol.py: what arena and worker send each other.
worker.py: the worker process: loads the model and serves.
scheduler.py: which request is computed next, and when one is let in.
sequence.py: a token sequence, and what a model runner offers.
prefix_cache.py: sequences that are kept for the next turn of their conversation.
batch.py: the model runner that decodes a batch of sequences in one call.
kv_cache.py: the batch's keys and values, a row for each sequence.
genai.py: the model runner, by ONNX Runtime GenAI, for models that cannot be batched.
sampling.py: draws a token from logits, with numpy.
"""
