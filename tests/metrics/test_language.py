"""Test the baselines that count: they are distributions, they equal what a plain dictionary gives, and they foretell."""

import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from songfoundry.errors import ConfigError
from songfoundry.metrics.language import NGram, Repeat, Unigram, likelihood

SIZE = 12


def text(seed: int, pieces: int = 20, length: int = 60) -> list[np.ndarray]:
    """Draw pieces from a chain in which each token is likely followed by the next one, and one token is never seen."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(pieces):
        tokens = [0, 1, 2]
        for _ in range(length):
            tokens.append((tokens[-1] + 1) % 10 if rng.random() < 0.6 else int(rng.integers(3, 10)))
        result.append(np.array(tokens, np.int32))
    return result


def plain_kneser_ney(sequences: list[np.ndarray], size: int, order: int):
    """Build interpolated modified Kneser-Ney from dictionaries, word for word after Chen & Goodman; returns chance(history, token)."""
    grams = [Counter() for _ in range(order + 1)]
    for tokens in sequences:
        words = (size,) * (order - 1) + tuple(int(t) for t in tokens)
        for at in range(order - 1, len(words)):
            grams[order][words[at - order + 1 : at + 1]] += 1
    for length in range(order - 1, 0, -1):
        for gram in grams[length + 1]:
            grams[length][gram[1:]] += 1
    discounts, followers = {}, {}
    for length in range(1, order + 1):
        n = Counter(grams[length].values())
        y = n[1] / (n[1] + 2 * n[2])
        discounts[length] = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        followers[length] = defaultdict(dict)
        for gram, count in grams[length].items():
            followers[length][gram[:-1]][gram[-1]] = count

    def chance(history: tuple, token: int) -> float:
        length = len(history) + 1
        lower = chance(history[1:], token) if history else 1 / size
        seen = followers[length].get(history)
        if not seen:
            return lower
        cut = discounts[length]
        total, count = sum(seen.values()), seen.get(token, 0)
        return (count - cut[min(count, 3)]) / total + sum(cut[min(c, 3)] for c in seen.values()) / total * lower

    return chance


def test_the_n_gram_equals_dictionaries():
    rng, size = np.random.default_rng(0), 400
    # Zipf's law: many tokens seen once, some twice, some often, as the discounts' formulae want
    *train, first, second = (np.minimum(rng.zipf(1.3, 150), size) - 1 for _ in range(42))
    model, chance = NGram(train, size, 3), plain_kneser_ney(train, size, 3)
    for tokens, nats in zip((first, second), model.nats([first, second]), strict=True):
        words = (size, size, *(int(t) for t in tokens))
        expected = [-np.log(chance(words[at - 2 : at], words[at])) for at in range(2, len(words))]
        np.testing.assert_allclose(nats, expected, rtol=1e-10)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_chances_sum_to_one_after_known_and_unknown_histories(order):
    model = NGram(text(0), SIZE, order)
    for history in ([0, 1, 2, 3, 4], [11, 11, 11, 11], [0, 1, 2, 9, 3, 11, 4]):
        sequences = [np.array([*history, token]) for token in range(SIZE)]
        chances = np.exp([-nats[-1] for nats in model.nats(sequences)])
        assert chances.sum() == pytest.approx(1) and (chances > 0).all()


def test_nothing_is_impossible_after_what_was_seen_often():
    # Two-grams come once, twice, three times or, by far most, four times: the third discount's formula is negative.
    often = [np.array([a, b]) for a in range(2) for b in range(10, 60) for _ in range(4)]
    some = [np.array([a, b]) for a, (b, times) in enumerate([(70, 1), (71, 1), (72, 2), (73, 3)], start=80) for _ in range(times)]
    nats = NGram(often + some, 100, 2).nats([np.array([0, 99])])[0]
    assert np.isfinite(nats).all() and nats[1] > 4


def test_a_longer_memory_foretells_more_and_chance_is_chance():
    train, held_out = text(0, 200), [(tokens, 7) for tokens in text(1)]
    scores = [likelihood(model, held_out).nll for model in (Unigram(train, SIZE), NGram(train, SIZE, 2), NGram(train, SIZE, 5))]
    # 0.6 of sureness and 0.4 in seven parts: 1.29 nats at best, no longer memory helps, but it must not hurt much either.
    assert scores[0] > 1.9 and 1.25 < scores[1] < 1.35 and scores[2] < scores[1] + 0.12
    noise = [np.random.default_rng(5).integers(0, SIZE, 100_000)]
    assert likelihood(Unigram(noise, SIZE), [(noise[0], 1)]).perplexity == pytest.approx(SIZE, rel=1e-3)


def test_likelihood_counts_all_tokens_but_the_header_and_divides_by_notes():
    class Two:
        def nats(self, sequences):
            return [np.full(len(tokens), 2.0) for tokens in sequences]

    found = likelihood(Two(), [(np.arange(13), 4), (np.arange(23), 6)])
    assert (found.tokens, found.notes, found.nats) == (30, 10, 60.0)
    assert found.nll == 2.0 and found.nll_note == 6.0 and found.perplexity == pytest.approx(np.exp(2))
    assert np.isnan(likelihood(Two(), []).nll)


def looped(seed: int, bars: int, period: int) -> np.ndarray:
    """Make a piece whose bars (token 3, then eight others) come again after `period` bars."""
    rng = np.random.default_rng(seed)
    loop = [[3, *rng.permutation(np.arange(4, 12))] for _ in range(period)]
    return np.array([0, 1, 2, *(token for bar in range(bars) for token in loop[bar % period])])


def test_repeat_finds_the_period_and_says_it_again():
    pieces = [looped(seed, 32, 4) for seed in range(8)]
    unigram = Unigram(pieces, SIZE)
    model = Repeat(unigram, bar=3, size=SIZE).fit(pieces)
    assert model.lag == 4 and model.share > 0.95
    again = model.nats(pieces)[0]
    bars = np.cumsum(pieces[0] == 3)
    assert again[bars > 5].mean() < 0.1  # beyond the loop's first turn hardly anything is news
    np.testing.assert_allclose(again[bars < 4], unigram.nats(pieces)[0][bars < 4])


def test_repeat_is_a_distribution_and_yields_where_nothing_comes_again():
    rng = np.random.default_rng(0)
    noise = [np.concatenate([[0, 1, 2], rng.integers(3, SIZE, 400)]) for _ in range(6)]
    model = Repeat(Unigram(noise, SIZE), bar=3, size=SIZE).fit(noise)
    plain = likelihood(Unigram(noise, SIZE), [(tokens, 1) for tokens in noise]).nll
    assert likelihood(model, [(tokens, 1) for tokens in noise]).nll < plain + 0.01
    start = looped(1, 8, 4)
    chances = [np.exp(-model.nats([np.append(start, token)])[0][-1]) for token in range(SIZE)]
    assert sum(chances) == pytest.approx(1)


def test_empty_texts_and_too_long_n_grams():
    assert np.allclose(NGram([], SIZE).nats([np.array([1, 2])])[0], np.log(SIZE))
    assert NGram(text(0), SIZE).nats([]) == []
    with pytest.raises(ConfigError, match="63 bits"):
        NGram([], 30_000, 5)


def test_a_million_tokens_take_seconds():
    rng = np.random.default_rng(0)
    # Zipf's law over 760 tokens
    corpus = [np.minimum(rng.zipf(1.3, 1000), 760) - 1 for _ in range(1000)]
    started = time.process_time()
    NGram(corpus, 760).nats(corpus[:100])
    assert time.process_time() - started < 8
