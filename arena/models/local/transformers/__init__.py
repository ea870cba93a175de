"""Runs a model with transformers: on GPUs, and on CPUs where ONNX Runtime is not used.

weights.py: loads weights and tokenizer, after checking that they fit.
engine.py: the engine that the arena sees; sends each request to the batch or to `generate`.
batch.py: continuous batching with one shared KV cache.
semaphore.py: admits requests while KV cache blocks and slots are free.
single.py: one answer at a time with `generate`.
zerogpu.py: the engine for the shared GPUs of Hugging Face Spaces.
sampling.py: temperature, top_p and seeded noise, with torch.
"""
