"""Checks for influences on the votes other than quality, one file per check.

base.py: what every check has: a verdict, the number of votes it is based on, its figures.
run.py: the list of all checks. A new one is a file, a line in run.py, and its texts.
position.py: the left side wins too often.
length.py: the longer answer wins more often than its model's strength explains.
logistic.py: the regression of length.py.
voters.py: the result of a pair depends on one voter.
drift.py: the result of a pair changed over time.
guesses.py: voters can tell the models before they vote.
"""
