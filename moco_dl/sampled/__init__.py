"""Frames that are sampled of a movie, and what they show: where each lies, and what in them is no tissue."""
