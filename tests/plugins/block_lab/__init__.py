"""Somebody else's package: a backbone, head, policy, task and split, each a file and a YAML."""
