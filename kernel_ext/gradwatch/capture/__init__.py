"""Room 1: turns autograd events into records. The only room that imports torch."""
