"""Causes and remedies that fill the sentences of errors."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ErrorReason(StrEnum):
    """Causes and remedies that fill an error's sentence; each is translated like a sentence.

    The text is the English one; its braces are filled with the error's own values. A cause names
    its remedy, which an error takes where it is given no other.
    """

    _remedy: str

    def __new__(cls, text: str, remedy: str = "") -> Self:
        """A text, and of a cause also its remedy's text."""
        made = str.__new__(cls, text)
        made._value_, made._remedy = text, remedy
        return made

    @property
    def remedy(self) -> ErrorReason | None:
        """What to do about this cause; None for a remedy itself."""
        return ErrorReason(self._remedy) if self._remedy else None

    # remedies
    DO_RESTART = "Start the arena again"
    DO_READ_LOG = "The log has the reason"
    DO_GET_AGAIN = "The log has the reason; get the files again, or choose another model"
    DO_INSTALL = "Run: {command}"
    DO_CHECK_MODEL = "Check ARENA_LOCAL_MODEL"
    DO_CHECK_REVISION = "Check ARENA_LOCAL_REVISION"
    DO_NAME_MODEL = "Set ARENA_LOCAL_MODEL to a folder, a .gguf file or a name like owner/model"
    DO_CHECK_OR_TOKEN = "Check ARENA_LOCAL_MODEL; for a private model set HF_TOKEN"
    DO_ACCEPT_TERMS = "Accept them on the model's page and set HF_TOKEN to a token of that account"
    DO_SET_TOKEN = "Set HF_TOKEN to a valid token with access to the model"
    DO_LATER_OR_FOLDER = (
        "Try again later, or set ARENA_LOCAL_MODEL to a folder with the model's files"
    )
    DO_UNSET_OFFLINE = (
        "Unset HF_HUB_OFFLINE, or set ARENA_LOCAL_MODEL to a folder with the model's files"
    )
    DO_CHECK_NETWORK = (
        "Check the network, or set ARENA_LOCAL_MODEL to a folder with the model's files"
    )
    DO_FREE_DISK = "Free some space, or set HF_HOME to a folder on a larger disk"
    DO_REMOVE_BROKEN = "Remove the broken files and get them again"
    DO_SET_CACHE = "Set ARENA_CACHE_DIR to a folder that can be written, with 1 GB free"
    DO_SAFETENSORS = (
        "Choose a repository with safetensors weights, such as microsoft/Phi-4-mini-instruct"
    )
    DO_ONNX = (
        "Choose microsoft/Phi-4-mini-instruct-onnx, another model with such a folder, or "
        "ARENA_LOCAL_ENGINE=transformers"
    )
    DO_OTHER_FILE = "Get the file again, or set ARENA_LOCAL_MODEL to another model"
    DO_OTHER_BUILD = (
        "Use the safetensors build microsoft/Phi-4-mini-instruct, or the ONNX build "
        "microsoft/Phi-4-mini-instruct-onnx with ONNX Runtime GenAI"
    )
    DO_KNOWN_MODEL = "Choose a model whose architecture transformers knows"
    DO_OTHER_MODEL = "Choose another model"
    DO_OTHER_MODEL_OR_BATTLE = "Choose another model, or start a new battle"
    DO_HALVE = "Set ARENA_LOCAL_DTYPE=bfloat16, which needs half of it"
    DO_MORE_MEMORY = (
        "Close other programs, choose a smaller model, or use a machine with more memory"
    )
    DO_SMALLER_OR_HALVE = (
        "Close other programs, choose a smaller model, or set ARENA_LOCAL_DTYPE=bfloat16"
    )
    DO_SHORTER = (
        "Try a shorter prompt or fewer tokens, or set ARENA_MAX_CACHE_GIB to a lower number"
    )
    DO_SIGN_IN = "Sign in to Hugging Face for more of it, or try again later"
    DO_SIGN_IN_OR_WAIT = "Sign in to Hugging Face for more of it, or try again in {wait}"
    DO_FEWER_TOKENS = "Lower the maximum of tokens"
    DO_LET_FINISH = "Wait until your other answers are finished"
    DO_RELOAD_PAGE = "Reload the page and try again"
    DO_RAISE_CACHE = "Close other programs, choose a smaller model, or raise ARENA_MAX_CACHE_GIB"
    # what to do about the copy of the votes
    DO_GRANT_WRITE = "Set HF_TOKEN to a token that may write to {place}"
    DO_MAKE_PRIVATE = "Make {place} private on the Hub; nothing is sent to a public dataset"
    DO_WAIT_FOR_HUB = (
        "It is tried again by itself, and until then they are on this disk alone; if it stays, "
        "check the network"
    )
    DO_UNSET_HUB_OFFLINE = "Unset HF_HUB_OFFLINE"
    DO_FREE_CACHE = "Free some space in {folder}, or set ARENA_CACHE_DIR to another folder"
    DO_MEND_LINES = "{number} lines of it cannot be read, the others are restored; see the log"
    # what to do about a line of `.env`
    DO_WRITE_EQUALS = "Write it as NAME=value, with an ordinary ="
    DO_CLOSE_QUOTE = "Close the quote, or write the value without quotes"
    # why a line of `.env` is not read
    FULL_WIDTH_EQUALS = "its equals sign is the full-width one", DO_WRITE_EQUALS
    COLON_FOR_EQUALS = "it has a colon in place of the equals sign", DO_WRITE_EQUALS
    OPEN_QUOTE = "a quote is opened and not closed", DO_CLOSE_QUOTE
    NO_EQUALS = "it has no equals sign", DO_WRITE_EQUALS
    # why a model is not available
    CLOSED = "it has been stopped", DO_RESTART
    START_FAILED = "it could not be started", DO_READ_LOG
    LOAD_FAILED = "its files could not be loaded", DO_GET_AGAIN
    PACKAGE_MISSING = "the package {package} is missing or broken", DO_INSTALL
    NO_FILE = "there is no file {source}", DO_CHECK_MODEL
    NO_FOLDER = "there is no folder {source}", DO_CHECK_MODEL
    NO_SUCH_NAME = "{source} is neither a folder that exists nor a name of the Hub", DO_NAME_MODEL
    NO_REPOSITORY = "there is no {source} on the Hub, or it is private", DO_CHECK_OR_TOKEN
    NO_REVISION = "there is no revision {revision} of {source}", DO_CHECK_REVISION
    GATED = "{source} is shared only with people who accepted its terms", DO_ACCEPT_TERMS
    HUB_REFUSES = "the Hub refuses access to {source} (HTTP {status})", DO_SET_TOKEN
    HUB_FAILS = "the Hub answered with an error (HTTP {status})", DO_LATER_OR_FOLDER
    HUB_OFFLINE = (
        "its files are not on this machine, and HF_HUB_OFFLINE forbids to fetch them",
        DO_UNSET_OFFLINE,
    )
    HUB_SILENT = (
        "its files are not on this machine, and the Hugging Face Hub does not answer",
        DO_CHECK_NETWORK,
    )
    HUB_UNREACHABLE = (
        "its files are not on this machine, and the Hugging Face Hub cannot be reached",
        DO_CHECK_NETWORK,
    )
    DISK_FULL = "there is no space on the disk for its files", DO_FREE_DISK
    DISK_SMALL = "its files need {need} on the disk, and {free} are free", DO_FREE_DISK
    WEIGHTS_BROKEN = "its weights cannot be read", DO_REMOVE_BROKEN
    NOT_PREPARED = "its files could not be prepared in {folder}", DO_SET_CACHE
    # why a model is not supported
    NO_WEIGHTS = "the repository has no safetensors weights", DO_SAFETENSORS
    NO_ONNX = "there is no model for a CPU in the form of ONNX Runtime GenAI in it", DO_ONNX
    BROKEN_GGUF = "it is not a readable GGUF file", DO_OTHER_FILE
    WRONG_GGUF = (
        "a GGUF file of the architecture {architecture} loses its long-context factors",
        DO_OTHER_BUILD,
    )
    OWN_CODE = "it needs code of its own, which is not run here", DO_KNOWN_MODEL
    UNKNOWN_ARCHITECTURE = "transformers does not know its architecture", DO_OTHER_MODEL
    UNSAFE_TEMPLATE = (
        "its chat template does not keep a visitor's text apart from control tokens",
        DO_OTHER_MODEL,
    )
    TEMPLATE_REFUSES = "its chat template refuses this conversation", DO_OTHER_MODEL_OR_BATTLE
    # what memory is needed
    MORE = "more"
