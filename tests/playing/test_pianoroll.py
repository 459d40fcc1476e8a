"""Pictures show what the piece holds: looked at as pixels, and as the figure that was drawn."""

import io
import struct
import sys

import numpy as np
import pytest
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.errors import InputError, MissingExtraError, OutputError
from songfoundry.playing import pianoroll

pytest.importorskip("symusic")
pytest.importorskip("matplotlib")


def pixels(png: bytes) -> np.ndarray:
    """(rows, columns, 3), 0 to 255."""
    from matplotlib.image import imread

    return np.round(imread(io.BytesIO(png), format="png")[..., :3] * 255).astype(int)


def blue(image):
    return (image[..., 2] > image[..., 0] + 60) & (image[..., 2] > 100)


def orange(image):
    return (image[..., 0] > image[..., 2] + 60) & (image[..., 1] > 80)


@pytest.fixture
def drawn(monkeypatch):
    """Catch the figures as they are saved."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: (figures.append(self), save(self, *rest, **more))[1])
    return figures


def test_prompt_and_continuation_have_two_colours_either_side_of_the_seam(tmp_path):
    score = notes.read_midi(midi([track([tempo(0, 120)]), part(0, 0, [(480 * b, 480, 60 + b % 5, 100) for b in range(16)])]))
    png = pianoroll.picture(score, split_tick=8 * 480, path=tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == png and png[:8] == b"\x89PNG\r\n\x1a\n"
    image = pixels(png)
    body = image[60:]  # below the legend
    left, right = np.flatnonzero(blue(body).any(axis=0)), np.flatnonzero(orange(body).any(axis=0))
    assert left.max() <= right.min() + 3 and len(left) > 100 and len(right) > 100
    assert abs(len(left) - len(right)) < 0.05 * len(left)
    alone = pixels(pianoroll.picture(score))
    assert blue(alone).any() and not orange(alone).any()


def test_panels_have_names_pitches_drums_and_bars(drawn):
    pianoroll.picture(notes.read_midi(band(beats=16)), title="A band")
    (figure,) = drawn
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels == ["Track 2 (33)", "Track 3 (0)", "Drums"] or labels[-1] == "Drums"
    ticks = [[text.get_text() for text in axis.get_yticklabels()] for axis in figure.axes]
    assert ticks[-1] == ["kick", "snare", "closed hat"] and "A1" in ticks[0] and "C4" in ticks[1]
    bars = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert bars == ["1\n4/4", "2", "3", "4"]
    assert all(len([line for line in axis.lines if line.get_linewidth() < 1]) == 4 for axis in figure.axes)


def test_metres_make_the_bars(drawn):
    metre = (0, b"\xff\x58\x04\x06\x03\x18\x08")
    later = (3 * 1440, b"\xff\x58\x04\x03\x02\x18\x08")
    six = [(240 * e, 200, 64, 90) for e in range(36)]
    pianoroll.picture(notes.read_midi(midi([track([metre, later, tempo(0, 120)]), part(0, 0, six)])))
    axis = drawn[0].axes[0]
    assert axis.get_xticks()[:4].tolist() == [0, 1440, 2880, 4320]
    assert [text.get_text() for text in axis.get_xticklabels()][:4] == ["1\n6/8", "2", "3", "4\n3/4"]


def test_forty_tracks_and_long_pieces_stay_pictures(drawn):
    many = [part(n % 9, n, [(0, 480, 20 + 2 * n, 90)] * (1 + n % 3)) for n in range(40)]
    png = pianoroll.picture(notes.read_midi(midi([track([tempo(0, 120)]), *many])))
    assert len(drawn[0].axes) == 16 and any("more tracks" in axis.get_ylabel() for axis in drawn[0].axes)
    long = [(1920 * b, 480, 60, 90) for b in range(500)]
    png = pianoroll.picture(notes.read_midi(midi([part(0, 0, long)])))
    width, height = struct.unpack(">II", png[16:24])
    assert 700 < width < 4000 and 100 < height < 4100
    assert len(drawn[1].axes[0].lines) <= 96


def test_what_cannot_be_drawn_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="notes to draw"):
        pianoroll.picture(notes.read_midi(midi([track([tempo(0, 120)])])))
    with pytest.raises(OutputError):
        pianoroll.picture(notes.read_midi(band(beats=4)), path=tmp_path / "none" / "p.png")
    fast = midi([track([tempo(0, 3000)]), part(0, 0, [(0, 1, 60, 90), (1_000_000, 1, 60, 90)])], division=1)
    with pytest.raises(InputError, match="20,000 bars"):
        pianoroll.picture(notes.read_midi(fast))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib"):
        pianoroll.picture(notes.read_midi(band(beats=4)))
    assert not list(tmp_path.iterdir())
