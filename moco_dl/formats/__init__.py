"""How recordings lie in files: what the formats hold, and which of it is the movie."""
