"""Room 2: records to bytes and back. No torch here."""
