"""Demonstrations: the files, how they are made, how training reads and augments them."""
