"""Take songs apart: one model loaded, files read and written in a stream, one song or many."""
