"""Name everything that can go wrong for a user, in one tree.

::

    SongfoundryError            the root: its text is one sentence for a person, the CLI exits with 2
    ├── InputError              a file or an array that was handed in cannot be used
    │   ├── AudioError          ... it is audio that cannot be read
    │   └── DatasetError        ... it is a folder of songs that does not hold what it should
    ├── ConfigError             a recipe, an option or a name is wrong
    ├── CheckpointError         a weight file is cut short, foreign or of another version
    ├── OutputError             a result cannot be written (folder, disk, format)
    ├── MissingExtraError       a feature needs a package that is not installed
    ├── TrainingError           a training cannot go on (non-finite loss, mismatched run folder)
    └── Cancelled               the user asked to stop; nothing was left half-written

A message says three things: what was expected, what was found, what to do.
"""


class SongfoundryError(Exception):
    """Root of every error that is the user's to mend; never raised itself."""


class InputError(SongfoundryError):
    """A file or an array that was handed in cannot be used."""


class AudioError(InputError):
    """A file that should hold audio cannot be read as such."""


class DatasetError(InputError):
    """A folder of songs does not hold what it should."""


class ConfigError(SongfoundryError):
    """A recipe, an option or a name is wrong."""


class CheckpointError(SongfoundryError):
    """A weight file is cut short, foreign, or of another version."""


class OutputError(SongfoundryError):
    """A result cannot be written."""


class MissingExtraError(SongfoundryError):
    """A feature needs a package that is not installed; the text names the extra."""


class TrainingError(SongfoundryError):
    """A training cannot go on."""


class Cancelled(SongfoundryError):
    """The user, or a callback, asked to stop."""
