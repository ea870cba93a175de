"""What may pass: checks that stand between visitors, models and browsers."""
