"""Give a piece to ears and eyes: as sound at one loudness, a picture, a written score, a list of events."""
