"""Notes with generated timbres: single ones, whole MIDI files, paths between timbres, the timbre of a recording."""
