"""What else than the better answer may have moved the votes, a check a file.

base.py      what every check has: a verdict, how many votes it stands on, its figures
run.py       all checks; a new one is a file beside it, a line in it, and its texts
position.py  the left side wins too often
length.py    the longer answer wins, beyond its writer's strength
logistic.py  the regression of length.py
voters.py    the result of a pair hangs on one voter
drift.py     the result of a pair changed over time
guesses.py   voters can tell the models before they vote
"""
