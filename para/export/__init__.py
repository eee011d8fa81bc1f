"""A policy as one file: what it holds, and how it is asked."""
