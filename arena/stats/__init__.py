"""What votes say, and how surely. Pure: arrays in, frozen results out, the same every time.

vote_table.py     VoteTable: all votes as columns
filters.py        which votes count, and why the others do not
outcomes.py       the votes that count, added up by pair
intervals.py      rates with intervals; two contestants compared
bradley_terry.py  the model of the ratings: fit and covariance
ranking.py        ratings of three and more contestants
cells.py          a pair by category and language
bias/             what else than the better answer may have moved the votes, a check a file
leaks.py          which texts name a contestant
"""
