"""Every number of the leaderboard, computed once for each state of the votes.

cache.py        reads the votes when they changed; keeps the reports made of them
report.py       the report: standings, pairs, cells, checks, days
report_json.py  the report for programs, under keys that stay
names.py        labels that tell all contestants apart
"""
