"""Battles and votes on disk."""
