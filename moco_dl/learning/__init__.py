"""How the network learns: synthetic scenes and their motion, datasets of them, and training on these."""
