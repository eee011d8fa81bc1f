"""Instructions as numbers: what policies are told in words, and what they make of it."""

from para.text.base import TEXTS, Text, TextConfig, build_text

__all__ = ["TEXTS", "Text", "TextConfig", "build_text"]
