"""Foreign data sets, one file per kind: each reads `Recording`s, which become demo files."""
