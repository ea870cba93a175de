"""Everything that can go wrong and that a person should hear of; `base.py` draws the tree.

- `base.py`: the base class, and what stops a start.
- `models.py`: a model cannot answer.
- `battle.py`: a battle does not allow something now, or a cap protects the owner.
- `store.py`: the database, an export or an import failed.
- `reasons.py`: causes and remedies that fill the sentences of several errors.
"""
