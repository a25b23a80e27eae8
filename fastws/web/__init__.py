"""Routes, files and authorization: who is answered with what."""
