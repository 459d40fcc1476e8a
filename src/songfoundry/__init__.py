"""songfoundry: neural music audio, offline first.

The names below are loaded when they are first used, so that ``import songfoundry`` stays light.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "separate": "songfoundry.separating.verb",
    "Separator": "songfoundry.separating.separator",
    "compose": "songfoundry.composing.verb",
    "Composer": "songfoundry.composing.composer",
    "render": "songfoundry.playing.rendering",
    "note": "songfoundry.timbre.verb",
    "morph": "songfoundry.timbre.verb",
    "like": "songfoundry.timbre.verb",
    "play": "songfoundry.timbre.verb",
    "NoteGenerator": "songfoundry.timbre.generator",
    "sing": "songfoundry.singing.verb",
    "speak": "songfoundry.singing.verb",
    "WorldSinger": "songfoundry.singing.engine",
    "picture": "songfoundry.picturing.verb",
    "PictureMaker": "songfoundry.picturing.maker",
    "encode": "songfoundry.encoding.verb",
    "decode": "songfoundry.encoding.verb",
    "roundtrip": "songfoundry.encoding.verb",
    "interpolate": "songfoundry.encoding.verb",
    "sample": "songfoundry.encoding.verb",
    "Encoder": "songfoundry.encoding.encoder",
    "train": "songfoundry.training",
    "evaluate_separation": "songfoundry.evaluating.separation",
    "export_onnx": "songfoundry.export",
    "Clip": "songfoundry.audio.io",
    "SongfoundryError": "songfoundry.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    """Import a public name on first use (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'songfoundry' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
