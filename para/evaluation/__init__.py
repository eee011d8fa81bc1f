"""Closed-loop evaluation: rollouts, parallel and resumable runs, result files, tables."""
