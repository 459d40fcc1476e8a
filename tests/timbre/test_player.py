"""Pieces sound with generated timbres: in time, in tune, polyphonic, evenly, in bounded memory, with drums of the orchestra."""

import tracemalloc

import numpy as np
import pytest
import tone_notes
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.audio import io
from songfoundry.audio.loudness import integrated, true_peak
from songfoundry.errors import Cancelled, ConfigError, InputError, OutputError
from songfoundry.metrics.pitch import median_cents
from songfoundry.playing import rendering
from songfoundry.timbre import verb
from songfoundry.timbre.casting import cast
from songfoundry.timbre.player import Player
from songfoundry.timbre.timbres import save_timbre

pytest.importorskip("symusic")
RATE = 16000


@pytest.fixture(scope="module")
def tones():
    """A generator of additive tones, C3 to C5."""
    return tone_notes.Tones()


def parts(*tracks: bytes, qpm: float = 120):
    return notes.parts(notes.read_midi(midi([track([tempo(0, qpm)]), *tracks])))


def strength(wave: np.ndarray, pitch: int) -> float:
    """Measure the share of the sound's power that lies at a pitch's fundamental."""
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    axis = np.fft.rfftfreq(len(wave), 1 / RATE)
    near = np.abs(axis - 440 * 2 ** ((pitch - 69) / 12)) < 12
    return float(power[near].sum() / power.sum())


def test_a_melody_is_in_time_and_in_tune(tones):
    melody = [(480 * n, 470, 60 + n, 100) for n in range(6)]
    sound = Player(tones, instruments="bright", wet=0.0).perform(parts(part(0, 0, melody)), RATE)
    assert sound.shape == (2, round((5.5 * 0.5 + 470 / 960 - 0.25 + 1.5) * RATE)) or abs(sound.shape[1] / RATE - 4.49) < 0.02
    for n in range(6):
        middle = sound[0, round((0.5 * n + 0.12) * RATE) : round((0.5 * n + 0.45) * RATE)]
        assert abs(median_cents(middle, RATE, 60 + n)) < 5
    assert np.array_equal(sound[0], sound[1]) and np.abs(sound[:, -10:]).max() < 1e-4
    gaps = np.abs(np.diff(sound[0], 2)).max()
    assert gaps < 2 * np.abs(np.diff(0.2 * tone_notes.tone("bright", 65), 2)).max()


def test_chords_are_polyphonic_and_as_loud_as_their_notes(tones):
    chord = [(0, 1900, pitch, 100) for pitch in (53, 60, 64, 69)]
    sound = Player(tones, instruments=["hollow"], wet=0.0).perform(parts(part(0, 0, chord)), RATE)
    middle = sound[0, RATE // 2 : 3 * RATE // 2]
    assert all(strength(middle, pitch) > 0.02 for pitch in (53, 60, 64, 69)) and strength(middle, 57) < 1e-4
    one = Player(tones, instruments="hollow", wet=0.0).perform(parts(part(0, 0, chord[:1])), RATE)[0, RATE // 2 : 3 * RATE // 2]
    assert 1.6 < middle.std() / one.std() < 2.5
    soft = Player(tones, instruments="hollow", wet=0.0).perform(parts(part(0, 0, [(0, 1900, 53, 50)])), RATE)[0, RATE // 2 : 3 * RATE // 2]
    assert soft.std() / one.std() == pytest.approx(0.25, abs=0.03)


def test_long_notes_last_and_blocks_leave_no_seam(tones):
    long = parts(part(0, 0, [(0, 480 * 26, 55, 100)]))
    sound = Player(tones, instruments="bright", wet=0.0).perform(long, RATE)[0]
    assert 0.75 < sound[12 * RATE : 12 * RATE + 8000].std() / sound[RATE : RATE + 8000].std() < 1.2
    assert abs(median_cents(sound[5 * RATE : 12 * RATE], RATE, 55)) < 2 and np.abs(sound[14 * RATE :]).max() < 1e-4
    inside = sound[2000 : 12 * RATE]
    assert np.abs(np.diff(inside, 2)).max() < 1.05 * np.abs(np.diff(sound[2000 : 2 * RATE], 2)).max()


def test_bends_and_pedals_and_pans_are_followed(tones):
    events = [(0, bytes([0xC0, 0])), (0, bytes([0xB0, 10, 0])), (0, bytes([0xE0, 0x7F, 0x7F])), (0, bytes([0xB0, 64, 127])),
              (0, bytes([0x90, 60, 100])), (240, bytes([0x80, 60, 0])), (2400, bytes([0xB0, 64, 0]))]  # fmt: skip
    sound = Player(tones, instruments="bright", wet=0.0).perform(parts(track(events)), RATE)
    middle = sound[0, 8000 : 22000]
    assert abs(median_cents(middle, RATE, 62)) < 4 and np.abs(sound[1]).max() < 1e-3 * np.abs(sound[0]).max()
    assert middle[-3000:].std() > 0.5 * middle[:3000].std(), "the pedal holds it"


def test_every_pitch_of_midi_plays(tones):
    extremes = parts(part(0, 0, [(480 * n, 400, pitch, 100) for n, pitch in enumerate((0, 20, 47, 73, 100, 127))]))
    player = Player(tones, instruments="bright", wet=0.0)
    sound = player.perform(extremes, 44100)[0]
    assert all(sound[round(22050 * n + 2000) :][:12000].std() > 0.01 for n in range(6))
    assert any("6 notes lie outside what was trained (C3 to C5)" in said for said in player.said)
    assert abs(median_cents(sound[22050 * 4 + 2000 :][:14000], 44100, 100)) < 5


def test_notes_outside_their_instruments_pitches_are_counted(tones, monkeypatch):
    monkeypatch.setattr(tones, "ranges", ((48, 60), (61, 72), (48, 72), (48, 72)))
    piece = parts(*(part(channel, 0, [(480 * n, 400, pitch, 100) for n, pitch in enumerate((50, 60, 70))]) for channel in (0, 1)))
    player = Player(tones, instruments="bright,hollow", wet=0.0)
    player.perform(piece, 8000)
    assert any("3 notes lie outside what was trained (by their instruments)" in said for said in player.said)
    moving = Player(tones, instruments="bright,hollow", interpolate=0.4, seed=1, wet=0.0)
    moving.perform(piece, 8000)
    roles, _ = cast(tones, piece, "bright,hollow", 0.4, 1)
    resampled = sum(
        tones.trained(int(pitch), role.timbre(place)) != pitch
        for role in roles for pitch, place in zip(role.part.pitches, role.places(), strict=True)
    )  # fmt: skip
    assert 0 < resampled < 6 and any(said.startswith(f"{resampled} note") for said in moving.said)


def test_tracks_get_instruments(tones, tmp_path):
    save_timbre(tmp_path / "kept.npz", tones.timbre("vocal", seed=77))
    piece = parts(*(part(channel, program, [(0, 100, 60, 90)]) for channel, program in ((0, 24), (1, 52), (9, 0), (2, 24))))

    def cast_of(wanted):
        roles, others = cast(tones, piece, wanted)
        assert [part.is_drum for part in others] == [True]
        return [role.stations[0].name for role in roles]

    assert cast_of(None) == ["plucked", "vocal", "plucked"]
    roles, _ = cast(tones, piece)
    assert roles[0].stations[0].key == roles[2].stations[0].key, "a latent for each instrument: two hands are one piano"
    assert roles[0].stations[0].key != roles[1].stations[0].key
    one, other, third = (role.stations for role in cast(tones, piece, "hollow,bright,hollow", 0.05 + 0.05, seed=4)[0])
    assert [step.key for step in one] == [step.key for step in third] and one[0].key != other[0].key
    drawn = cast(tones, piece, "drawn,drawn,drawn")[0]
    assert len({role.stations[0].key for role in drawn}) == 3, "what is drawn is another each time"
    assert cast_of("hollow,bright") == ["hollow", "bright", "plucked"]
    assert cast_of(["2=bright", f"3={tmp_path / 'kept.npz'}"]) == ["plucked", "bright", "vocal"]
    assert cast_of("drawn,drawn,drawn")[0] in tone_notes.INSTRUMENTS
    for wanted, words in (
        ("flut", "an instrument of"), ("9=bright", "number of a pitched track"), ("bright,bright,bright,bright", "at most 3"),
        ("bright,", "nothing"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            cast(tones, piece, wanted)
    with pytest.raises(InputError, match=r"no\.npz"):
        cast(tones, piece, "no.npz")
    with pytest.raises(ConfigError, match="interpolate"):
        cast(tones, piece, None, 0.0)


def test_names_of_tracks_are_known(tones):
    named = part(0, 0, [(0, 100, 60, 90)])
    name = b"\x00\xff\x03\x06Melody"
    named = named[:4] + (int.from_bytes(named[4:8], "big") + len(name)).to_bytes(4, "big") + name + named[8:]
    roles, _ = cast(tones, parts(named), "Melody=vocal")
    assert roles[0].stations[0].name == "vocal" and roles[0].chosen == "as asked"
    with pytest.raises(ConfigError, match="did you mean 'Melody'"):
        cast(tones, parts(named), "Melodie=vocal")


def test_instruments_change_along_a_path(tones):
    piece = parts(part(0, 0, [(240 * n, 200, 60, 90) for n in range(32)]))
    (role,), _ = cast(tones, piece, "bright", interpolate=2.0, seed=3)
    places = role.places()
    assert len(role.stations) == 5 and places.tolist() == sorted(places.tolist()) and places[0] == 0 and places[8] == 12
    way = [role.timbre(place) for place in places]
    assert way[0].name == "bright" and way[8].pure == role.stations[1].pure != way[0].pure and "+" in way[4].name
    assert all(a.pure != b.pure for a, b in zip(role.stations, role.stations[1:], strict=False))
    lengths = [np.linalg.norm(timbre.latent) for timbre in way]
    ends = [np.linalg.norm(timbre.latent) for timbre in role.stations]
    assert min(lengths) > min(ends) - 1e-3 and len({timbre.key for timbre in way}) == 32
    player = Player(tones, instruments="bright", interpolate=2.0, seed=3)
    tones.asked.clear()
    assert np.abs(player.perform(piece, 8000)).max() > 0.01
    assert len(tones.asked) == 32 and len({number for _, number in tones.asked}) > 1 and " -> " in player.said[0]


def test_drums_are_the_orchestra(tones):
    piece = notes.parts(notes.read_midi(band(beats=16)))
    drums = [one for one in piece if one.is_drum]
    player = Player(tones, wet=0.0)
    sound = player.perform(drums, RATE)
    from songfoundry.orchestra import Orchestra

    real = Orchestra(RATE).perform(drums, wet=0.0)[:, : 4 * RATE]
    assert np.allclose(sound[:, : real.shape[1]], real, atol=1e-4), "to the sample within a block"
    assert sound[:, 5 * RATE : 6 * RATE].std() == pytest.approx(real[:, RATE : 2 * RATE].std(), rel=0.3)
    assert "1 track of drums and effects: the built-in orchestra" in player.said
    whole = player.perform(piece, RATE)
    assert whole.std() > sound.std() and len(player.said) == 4


def test_sounds_are_made_once_and_a_seed_is_a_performance(tones):
    piece = parts(part(0, 0, [(120 * n, 100, 60 + n % 4, 90) for n in range(64)]))
    player = Player(tones, instruments="bright")
    tones.asked.clear()
    first = player.perform(piece, RATE)
    assert len(tones.asked) == 4
    assert np.array_equal(player.perform(piece, RATE), first) and len(tones.asked) == 4
    assert np.array_equal(Player(tones, instruments="bright").perform(piece, RATE), first)
    assert not np.array_equal(Player(tones, instruments="bright", seed=1).perform(piece, RATE), first)


def many(count: int, seconds: float) -> bytes:
    """So many notes in so many seconds on two tracks, and drums."""
    draw = np.random.default_rng(0)
    ticks = np.sort(draw.integers(0, round(seconds * 960), count))
    rows = [(int(t), int(draw.integers(20, 400)), int(draw.integers(44, 60)), int(draw.integers(40, 100))) for t in ticks]
    drums = [(t, 60, 35 + p % 20, v) for t, _, p, v in rows[2::3]]
    return midi([track([tempo(0, 120)]), part(0, 0, rows[::3]), part(1, 40, rows[1::3]), part(9, 0, drums)])


def test_twenty_thousand_notes_stream_in_bounded_memory(tones):
    peaks = {}
    for count, seconds in ((1000, 30.0), (20_000, 300.0)):
        piece = notes.parts(notes.read_midi(many(count, seconds)))
        assert sum(len(one.starts) for one in piece) == count
        player, length = Player(tones, instruments="bright,hollow"), 0
        tracemalloc.start()
        for block in player.blocks(piece, 8000):
            length += block.shape[1]
            assert block.shape[1] <= 4 * 8000 and np.isfinite(block).all()
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert abs(length / 8000 - seconds - 1.6) < 0.4
    assert peaks[20_000] < peaks[1000] + (12 << 20) and peaks[20_000] < 80 << 20, peaks


def test_the_cache_of_sounds_is_bounded_and_changes_nothing(tones, monkeypatch):
    piece = parts(part(0, 0, [(240 * n, 200, 60 + 7 * n % 12, 90) for n in range(24)]))
    whole = Player(tones, instruments="bright").perform(piece, 8000)
    monkeypatch.setattr("songfoundry.timbre.player._CACHE_BYTES", 300_000)
    tones.asked.clear()
    player = Player(tones, instruments="bright")
    assert np.array_equal(player.perform(piece, 8000), whole)
    assert len(tones.asked) > 12 and sum(sound.nbytes for sound in player._sounds.values()) == player._bytes <= 300_000


def test_a_piece_becomes_a_file_at_its_loudness(tones, tmp_path):
    shares = []
    made = verb.play(band(beats=16), out=tmp_path / "new" / "a.flac", model=tones, rate=22050, seed=2, progress=shares.append)
    clip = io.read(made.path)
    assert clip.rate == 22050 and clip.channels == 2 and clip.seconds == pytest.approx(made.seconds, abs=0.01) and made.notes == 100
    assert integrated(clip.samples, 22050) == pytest.approx(-16, abs=0.3) and true_peak(clip.samples) <= -0.95
    assert made.lufs == pytest.approx(-16, abs=0.2) and made.dbtp <= -1 and shares == sorted(shares) and shares[-1] == 1.0
    again = verb.play(band(beats=16), out=tmp_path / "b.flac", model=tones, rate=22050, seed=2)
    assert np.array_equal(io.read(again.path).samples, clip.samples) and made.as_json()["model"] == "comb_gan"


def test_render_takes_a_player(tones):
    player = Player(tones, seed=2)
    made = rendering.render(band(beats=8), player=player, rate=22050)
    assert made.player == "generated timbres of comb_gan" and made.lufs == pytest.approx(-16, abs=0.3)
    assert made.notes == player.said
    with pytest.raises(ConfigError, match="found both"):
        rendering.render(band(beats=8), player=player, soundfont="builtin")


def test_bad_pieces_leave_nothing(tones, tmp_path):
    out = tmp_path / "new" / "a.wav"
    silent, hours = midi([track([tempo(0, 120)])]), midi([part(0, 0, [(0, 480, 60, 90), (480 * 21600, 480, 60, 90)])])
    for source, error, words in (
        (silent, InputError, "found none"), (b"no", InputError, "standard MIDI"), (hours, InputError, "60 minutes"),
        (tmp_path / "gone.mid", InputError, "gone.mid"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            verb.play(source, out=out, model=tones)
    with pytest.raises(ConfigError, match="LUFS"):
        verb.play(band(), out=out, model=tones, loudness=3)
    with pytest.raises(OutputError):
        verb.play(band(), out=tmp_path / "a.xyz", model=tones)
    with pytest.raises(Cancelled):
        verb.play(band(), out=out, model=tones, rate=8000, progress=lambda share: share < 0.4)
    assert list(tmp_path.iterdir()) == []
