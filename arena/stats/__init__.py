"""What the votes show, and how certain it is. Pure: arrays in, frozen results out.

vote_table.py: VoteTable: all votes as columns.
filters.py: which votes count, and why the others do not.
verdict.py: the same of one vote, also before it is cast.
outcomes.py: the votes that count, added up by pair.
intervals.py: rates with intervals; two contestants compared.
bradley_terry.py: the model of the ratings: fit and covariance.
ranking.py: ratings of three and more contestants.
cells.py: a pair by category and language.
alarm.py: whether the share of votes that count has collapsed.
bias/: influences on the votes other than quality, one file per check.
leaks.py: which texts name a contestant.
loops.py: whether a text repeats itself without end.
prompt_length.py: whether an engine read less of a prompt than it was sent.
"""
