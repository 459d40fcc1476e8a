"""Audio: files in and out (`io`), and what is done to long signals in pieces (`pieces`)."""
