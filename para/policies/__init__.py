"""Policies: losses from a batch, action chunks from observations; opponents are in baselines/."""
