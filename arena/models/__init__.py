"""Contestants: whatever can turn messages into a stream of text."""
