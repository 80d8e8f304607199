"""Tests of the training engine; `toy` is the system that they train."""
