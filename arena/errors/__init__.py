"""Everything that can go wrong and that a person should hear of.

base.py: the class hierarchy, the base class, and errors that prevent a start.
start.py: what stops a start, or is warned of at it.
models.py: a model cannot answer.
battle.py: a battle does not allow something now, or a cap protects the owner.
store.py: the database, an export or an import failed.
reasons.py: causes and remedies that fill the sentences of several errors.
"""
