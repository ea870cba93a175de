"""Models whose weights are on this machine.

model.py: the contestant: start, stream, restart after a crash, end.
spec.py: the settings of one local model.
load.py: loads a model on the engine that suits this machine.
download.py: gets a model's files from a folder, the cache or the Hub.
embedded.py: the stand-in that needs no network.
build_cache.py: folders that are built once and kept.
chat_template.py: messages to token ids, and token ids to text.
engine.py: what an engine is: token ids in, token ids out.
device.py: GPU or CPU, threads, number format, attention.
memory.py: free memory, a model's sizes, and the size of its KV cache.
noise.py: the hash behind seeded sampling.
onnx/: the engine on ONNX Runtime.
transformers/: the engines on transformers.
"""
