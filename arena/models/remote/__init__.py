"""Models that answer over the network: one model class, and a dialect for each API.

model: RemoteModel, the course of a request: caps, retries, fallback, status.
dialect: the contract of an API, and the types that pass it.
connection: a provider's client and the streams that are read with it.
failure: why a request failed, and how long to wait before the next one.
quota: what every call passes before it is sent.
budget: the day's requests and money, counted in the store.
prices: what a cloud model costs.
gemini, gemini_wire, gemini_errors: Google's API: the dialect, its wire format, its error replies.
openai, openai_wire, openai_errors: the same for OpenAI-compatible engines.
"""
