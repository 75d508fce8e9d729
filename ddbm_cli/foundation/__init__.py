"""What every other package builds on: errors, settings, files, digests and devices."""
