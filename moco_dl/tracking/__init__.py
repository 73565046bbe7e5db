"""Motion over time: what is expected of it, and the most probable one, given what frames tell."""
