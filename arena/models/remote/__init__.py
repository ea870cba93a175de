"""Models that answer over the network: one model class, and a dialect for each API.

model.py: RemoteModel, the course of a request: caps, retries, fallback, status.
dialect.py: the contract of an API, and the types that pass it.
reply.py: what one request has brought so far, and what its end means.
breaker.py: when a provider that failed is asked again.
connection.py: a provider's client and the streams that are read with it.
failure.py: why a request failed, and how long to wait before the next one.
quota.py: the checks before each paid call: requests and money of the day.
budget.py: how the day's requests and money are counted.
prices.py: what a cloud model costs.
gemini.py, gemini_wire.py, gemini_errors.py: Google's API: dialect, wire format, error replies.
openai.py, openai_wire.py, openai_errors.py: the same for OpenAI-compatible engines.
"""
