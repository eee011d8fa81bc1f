"""One trainer for all policies, its checkpoints and its log."""
