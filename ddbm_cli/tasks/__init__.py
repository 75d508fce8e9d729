"""The use-cases as plain functions that yield events; no terminal."""
