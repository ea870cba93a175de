"""What stops a start, or is warned of at it: environment, `.env`, folders, proxies, the port."""

from __future__ import annotations

from arena.errors.base import ArenaError


class StartError(ArenaError):
    """Something outside the arena prevents its start, or will surprise its owner."""

    code = "start"
    message = "The arena can't start."


class EnvFileUnreadable(StartError):
    """`.env` is there and can't be read."""

    code = "env_file_unreadable"
    message = "{file} can't be read."
    remedy = "Let this user read it, or remove it."


class EnvFileEncoding(StartError):
    """`.env` is not text in UTF-8."""

    code = "env_file_encoding"
    message = "{file} is not text in UTF-8; it looks like {encoding}."
    remedy = "Open it in an editor and save it again as UTF-8."


class EnvLineIgnored(StartError):
    """A line of `.env` sets nothing."""

    code = "env_line_ignored"
    message = "Line {line} of {file} is not read: {why}."
    remedy = "{remedy}"


class EnvFileElsewhere(StartError):
    """There is a `.env` where the arena was started, and another place is the one that is read."""

    code = "env_file_elsewhere"
    message = "{file} is not read."
    remedy = "The settings are read from {used}."


class UnknownVariable(StartError):
    """A variable with a name like the arena's is none of them."""

    code = "unknown_variable"
    message = "{variable} is not a variable of the arena."
    remedy = ".env.example lists all of them."


class MisspeltVariable(UnknownVariable):
    """As `UnknownVariable`, and one of them has nearly that name."""

    code = "misspelt_variable"
    remedy = "Did you mean {nearest}?"


class MissingFile(StartError):
    """A variable of a library names a file or folder that is not there."""

    code = "missing_file"
    message = "{variable}={value} names a file or folder that is not there or can't be read."
    remedy = "Correct {variable}, or unset it."


class BadCertificates(StartError):
    """A file that should hold certificates holds none."""

    code = "bad_certificates"
    message = "{variable}={value} names a file without certificates."
    remedy = "Name a file in the form PEM, or unset {variable}."


class SocksMissing(StartError):
    """The proxy is a SOCKS proxy, for which a package is missing."""

    code = "socks_missing"
    message = "{variable} names a SOCKS proxy, and the package socksio is not installed."
    remedy = "Run: pip install socksio. Or unset {variable}."


class FolderClosed(StartError):
    """A folder that the arena needs can't be written."""

    code = "folder_closed"
    message = "The folder {folder} can't be written."
    remedy = "Set {variable} to a folder that this user can write."


class AddressUnusable(StartError):
    """The page can't be served at this address."""

    code = "address_unusable"
    message = "The page can't be served at {address}: {reason}."
    remedy = (
        "Set GRADIO_SERVER_NAME to 127.0.0.1, 0.0.0.0 or an address of this machine, and "
        "GRADIO_SERVER_PORT to a port above 1023."
    )


class PortTaken(StartError):
    """Another program listens on the port that the owner chose."""

    code = "port_taken"
    message = "Port {port} is in use by another program, perhaps by another arena."
    remedy = "End that program, or set GRADIO_SERVER_PORT to another port."


class StoreElsewhere(StartError):
    """A store lies where the arena was started, and another one is used."""

    code = "store_elsewhere"
    message = "The store is {used}; there is another one at {other}, which is not used."
    remedy = "To use that one, set ARENA_DATABASE_URL=sqlite:///{other}"
