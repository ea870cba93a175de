"""What votes say, and how surely. Pure: arrays in, frozen results out, the same every time.

    ballots.py        Ballots: all votes as columns
    counting.py       which votes count, and why the others do not
    outcomes.py       the votes that count, added up by pair
    intervals.py      rates with intervals; two contestants compared
    ranking.py        Bradley-Terry ratings of three and more, over bradley_terry.py
    cells.py          category by language
    bias.py           position, length, busy voters, change over time, over logistic.py

Nothing here reads a store, draws a picture or builds a sentence.
"""
