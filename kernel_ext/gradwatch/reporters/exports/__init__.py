"""Sessions in the formats of other tools, one target a file. Read a chunk at a time, whatever the session's size."""
