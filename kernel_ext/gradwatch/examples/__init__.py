"""Programs to try gradwatch on. Not one of them knows of it."""
