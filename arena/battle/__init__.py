"""Battles: from a visitor's prompt to two finished answers and the vote.

arena.py: begins, continues, stops and retries battles; takes the votes.
public.py: the contestants' states as everybody may see them.
session.py: an open battle: its streams, and snapshots of them.
resume.py: which page shows it, how long it runs on without one, and who takes it up.
cadence.py: when text is shown, where no side may tell its own timing.
request.py: what a visitor asks for, and the record that is made of it.
admission.py: running slots, the queue of those who wait, and rate limits.
pending.py: votes that can still be taken back, and the end of that time.
verdicts.py: what a page says beside a vote: whether it counts.
own_record.py: and what its voter has voted so far.
retention.py: erases texts after the time that the owner set.
own_texts.py: erases a visitor's own texts when they ask for it.
limits.py: the caps, and one check for each.
"""
