"""An arena that compares a small local language model with a cloud one."""
