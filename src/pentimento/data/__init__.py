"""Datasets and adapters; no networks here."""
