"""How a local model is run."""
