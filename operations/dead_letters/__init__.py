"""Dead letters: found, read, previewed and replayed."""
