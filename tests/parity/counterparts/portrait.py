"""Mask-Guided Portrait Editing."""

from parity.counterparts import Build

COUNTERPARTS: dict[str, Build] = {}
