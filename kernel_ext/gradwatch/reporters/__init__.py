"""Room 4: a session and its findings as text, HTML or JSON. No torch here."""
