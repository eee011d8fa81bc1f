"""The whole campaign: every demo set, every training run once, every evaluation, the website."""
