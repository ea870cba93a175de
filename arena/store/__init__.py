"""Battles, votes and what is counted, in one database of SQLite or Postgres.

store.py: `VoteStore`, by which all other rooms read and write.
database.py: how the database is opened; transactions in threads; errors.
schema.py: the tables.
migrations/: brings databases of older versions to these tables.
serialization.py: records to plain data and back, the form in which they are kept.
queries.py: battles, votes, decisions and imported records in SQL.
visitors.py: what one visitor has asked and judged, in SQL.
pending.py: votes that can still be taken back, in SQL.
erasure.py: removes the texts of battles for good, in SQL.
restore.py: reads records for the copy on the Hub, and restores them from it.
usage.py: caps in SQL: rate windows, daily counts, money.
settings_table.py: single values of the database, e.g. the salt of the voters' hashes.
features.py: the table of votes for the statistics, and what is kept for it.
move.py: copies a whole store into another database and compares the two.
postgres.py: connections to a Postgres server, with bounds on every wait.
changes.py: which records were written since they were last copied to the Hub.
"""
