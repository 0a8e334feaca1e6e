"""Room 3: pure functions from a session to findings, one question a file. No torch, no input or output."""
