"""Imported before every test module."""

import envs  # noqa: F401  (chooses the rendering backend before any test imports mujoco)
