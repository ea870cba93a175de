"""The database, an export or an import failed."""

from __future__ import annotations

from arena.errors.base import ArenaError


class StoreError(ArenaError):
    """A record could not be written or read."""

    code = "store"
    message = "The record could not be saved or read."
    remedy = "Try again; if it stays, whoever runs the arena finds the cause in the log."


class StoreNotOpened(StoreError):
    """The database can't be opened at a start; only this error tells people where it is."""

    code = "store_not_opened"
    message = "The store {place} can't be opened."
    remedy = "Check that it is whole and can be written."


class StoreTooNew(StoreError):
    """A newer arena wrote the database; an older one could lose its new columns."""

    code = "store_too_new"
    message = "A newer version of the arena wrote {place}."
    remedy = "Get the newer version, or set ARENA_DATABASE_URL to another file."


class StoreMissing(StoreError):
    """There is no store to move; a missing file is never taken for an empty store."""

    code = "store_missing"
    message = "There is no store at {place}."
    remedy = "Check the address of the store to move."


class StoreNotEmpty(StoreError):
    """The target of a move holds battles already; two stores are never merged."""

    code = "store_not_empty"
    message = "{place} holds battles already."
    remedy = "Name an empty database to move to."


class DriverMissing(StoreError):
    """The package that speaks to this kind of database is not installed."""

    code = "driver_missing"
    message = "The driver for {place} is not installed."
    remedy = "Run: pip install -r requirements-postgres.txt"


class BackupFailed(StoreError):
    """The copy of the votes on the Hub could not be read or written."""

    code = "backup_failed"
    message = "The votes could not be copied to {place}."
    remedy = "{remedy}"


class CopyDiffers(StoreError):
    """A moved store is not the same as the old one."""

    code = "copy_differs"
    message = "{place} does not hold the same as the store before it: {difference}."
    remedy = "The old store is unchanged; empty the new one and try again."


class BadVote(StoreError):
    """A vote has an unknown value; it is never counted as a known one."""

    code = "bad_ballot"
    message = "Vote number {row} can't be counted: its {field} is {value}."
    remedy = "Exclude that battle, or mend it where the votes are kept."


class BadGuess(StoreError):
    """A voter's guess names neither of the two contestants."""

    code = "bad_guess"
    message = "{guess} is neither of the two contestants."
    remedy = "Name one of: {allowed}"


class PackageMissing(StoreError):
    """The package that reads and writes a format is not installed."""

    code = "package_missing"
    message = "The package {package} is not installed."
    remedy = "Run: pip install -r {file}"


class ExportNeedsFile(StoreError):
    """That format can only be written to a file."""

    code = "export_needs_file"
    message = "{format} can't be written to the standard output."
    remedy = "Name a file."


class ExportOff(StoreError):
    """The owner has not turned downloads on."""

    code = "export_off"
    message = "This arena does not offer its votes for download."
    remedy = "Ask its owner, who can set ARENA_PUBLIC_EXPORT=1."


class ExportBusy(StoreError):
    """Another export is being made."""

    code = "export_busy"
    message = "Another download is being made, and only one is made at a time."
    remedy = "Try again in a minute."


class ExportTooLarge(StoreError):
    """There are more battles than one download may have."""

    code = "export_too_large"
    message = "There are {battles} battles, and the page makes files of at most {most}."
    remedy = "Ask the owner for the file of: python -m arena export --mask"


class NotImportable(StoreError):
    """A file has none of the known forms."""

    code = "not_importable"
    message = "{file} can't be imported: {problem}."
    remedy = (
        "Give a .jsonl or .parquet file of `python -m arena export`, or one with LMArena's columns."
    )


class BadRow(NotImportable):
    """A row of a file is wrong; nothing of the file was imported."""

    code = "bad_row"
    message = "{file}, row {row}: {problem}."
    remedy = "Nothing was imported. Mend that row, or leave bad rows out with --skip-bad."
