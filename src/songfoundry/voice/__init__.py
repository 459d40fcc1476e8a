"""The voice as WORLD describes it: pitch, envelope, breath; tunes and F0 curves; syllables and their timing."""
