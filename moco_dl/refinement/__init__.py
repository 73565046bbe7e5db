"""What frames, compared with the reference, tell of the motion that is left."""
