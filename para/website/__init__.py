"""The results website: every number on it is computed from result files and links to them."""
