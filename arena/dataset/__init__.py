"""Votes as a dataset: exports, imports, and the copy of the store on the Hub.

export.py: battles and votes into a file, in one of four shapes, with its card.
shapes.py: a battle with its vote as rows of one shape.
columns.py: the columns of each shape: names, kinds, meanings.
lmarena.py: a vote in the columns of LMArena's set.
formats.py: rows into JSON Lines, CSV or Parquet; file and card come together.
card.py: a summary of an export, and its dataset card.
card.md.jinja: the card's text.
pii.py: masks what may lead to a person.
public.py: the export that visitors may download.
imports.py: reads a file of votes into the store.
import_rows.py: turns one row of a file into a battle with its vote.
hub.py: when the store is copied to a private dataset on the Hub, and restored from it.
hub_repository.py: the copy's lines and files, and the Hub's own library.
hub_card.md: the card of the copy.
"""
