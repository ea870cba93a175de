"""Libraries send nothing about this machine to their makers.

Some do so as soon as they are imported, so the arena's package calls this before anything else: in
the page's process, the commands, the workers, and by inheritance in every process they start.
"""

from __future__ import annotations

import os


def turn_off() -> None:
    """Turn the telemetry of all libraries off, whatever the environment says about it.

    Call it before they are imported. A later `.env` does not override it.
    """
    # ONNX Runtime: a lasting device id and a store of events under the home folder, and requests
    # to its maker's event server.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # huggingface_hub and transformers: what is used how, and versions with every request.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # What other libraries follow.
    os.environ["DO_NOT_TRACK"] = "1"
