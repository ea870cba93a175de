"""Every number of the leaderboard, computed once for each state of the votes.

cache.py: reads the votes when they changed; keeps the reports made of them.
report.py: the report: standings, pairs, results by category and language, checks, votes per day.
report_json.py: the report for programs, with stable keys.
watch.py: looks whether the share of votes that count has collapsed, and tells the log.
names.py: labels that tell all contestants apart.
"""
