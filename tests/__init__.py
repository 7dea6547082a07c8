"""Tests: unit (no process but this one), integration (a real broker and database), e2e (the whole system)."""
