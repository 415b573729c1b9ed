"""The pytest side: the only room that imports pytest."""
