"""Measurements of this project against others, each with its protocol beside it."""
