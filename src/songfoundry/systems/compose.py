"""Compose: a tokenizer's config, a net by name, the likelihood that it is trained by, and writing under grammars."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import registry
from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.notes.tokens import HEADER, TokenConfig, tokenizer
from songfoundry.systems import Artifact
from songfoundry.systems.sampling import Sampling, choose, penalised

if TYPE_CHECKING:
    from songfoundry.notes.grammar import Grammar

__all__ = ["SYSTEM", "Compose", "ComposeConfig"]

REMEMBERED = 128  # tokens that the penalty on repetition looks back


class ComposeConfig(Config):
    """Say what the system is: net by name and preset, tokens, and how many of them it sees at once.

    `net_options` override single values of the preset; `label_smoothing` is the share of the probability that training spreads
    over all tokens.
    """

    name: str = "compose"
    net: str = "music_transformer"
    preset: str | None = "small"
    net_options: dict[str, int | float | str | bool | list] = {}
    tokens: TokenConfig = TokenConfig()
    context: PositiveInt = 1024
    label_smoothing: float = 0.0


class Compose(nn.Module):
    """Hold a tokenizer and a net, and know how to train it, score it and write with it."""

    Config = ComposeConfig

    def __init__(self, config: ComposeConfig):
        super().__init__()
        self.config = config
        if config.context < 16:
            raise ConfigError(f"expected a context of at least 16 tokens, found {config.context}: music needs some memory")
        self.tokenizer = tokenizer(config.tokens)
        self.net = registry.build_net("compose", config.net, config.preset, config.net_options, vocabulary=self.tokenizer.size)
        # Whether the net sees so many tokens and no more.
        self._bounded = not math.isinf(self.net.room(self.net.start(1, 1)))
        # In chorales a pitch that is said again is held.
        struck = () if config.tokens.kind == "chorale" else ("Pitch", "NoteOn")
        self._pitches = np.isin(self.tokenizer.kinds, struck)

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: one, "model"."""
        return {"model": list(self.net.parameters())}

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Parameters
        ----------
        batch : "tokens" int64 (batch, context + 1); "weights" float (batch, context), 0 where the token after is not to be learned.

        Returns
        -------
        losses : "nll", the mean negative log-likelihood of the weighted tokens, in nats (label smoothing, where there is, included).
        """
        tokens, weights = batch["tokens"].long(), batch["weights"].float()
        logits, _ = self.net(tokens[:, :-1])
        each = functional.cross_entropy(
            logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none", label_smoothing=self.config.label_smoothing
        )
        return {"nll": (each * weights.flatten()).sum() / weights.sum().clamp(min=1.0)}

    @property
    def device(self) -> torch.device:
        """The device that the net is on."""
        return next(self.net.parameters()).device

    def _read(self, ids: np.ndarray, cache):
        """Read tokens, int (n,), after those in a cache: logits, float (n, vocabulary), and the cache."""
        tokens = torch.as_tensor(np.asarray(ids, np.int64), device=self.device)[None]
        logits, cache = self.net(tokens, cache)
        return logits[0], cache

    @torch.no_grad()
    def likelihood(self, ids: np.ndarray) -> np.ndarray:
        """Measure the negative log-likelihood of a piece's tokens, each given those before it.

        A net without an end to its memory reads the piece at once. Another sees `context` tokens: those after the first window
        are measured in further ones that begin, like the crops of training, with the header and where they can at a bar, and in
        which half of the window stands before what is measured.

        Parameters
        ----------
        ids : int (tokens,), a whole piece, header first.

        Returns
        -------
        nll : float64 (tokens - 1,), nats; of token n + 1 at n. What is given (`HEADER`) is measured too, and is the caller's to leave out.
        """
        ids = np.asarray(ids, np.int64)
        context = self.config.context
        if len(ids) < 2:
            return np.zeros(0)
        found = np.empty(len(ids) - 1)
        if not self._bounded:
            cache, done = None, 0
            while done < len(found):
                part = ids[done : done + 4096 + 1]
                logits, cache = self._read(part[:-1], cache)
                found[done : done + len(part) - 1] = _nll(logits, part[1:])
                done += len(part) - 1
            return found
        first = ids[: context + 1]
        found[: len(first) - 1] = _nll(self._read(first[:-1], None)[0], first[1:])
        done, bars = len(first) - 1, np.asarray(self.tokenizer.bars(ids))
        while done < len(found):
            # Token `done` + 1 is the next to be measured.
            begin = done - context // 2
            after = bars[(bars >= begin) & (bars < done - context // 4)]
            begin = int(after[0]) if len(after) else begin
            stop = min(len(ids), begin + context - HEADER + 1)
            part = np.concatenate((ids[:HEADER], ids[begin:stop]))
            new = stop - 1 - done
            found[done:] [:new] = _nll(self._read(part[:-1], None)[0][-new:], part[-new:])
            done += new
        return found

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score one validation song.

        `batch` holds "tokens" int (n,), a whole piece, and "notes", how many notes it has.

        Returns
        -------
        scores : "nll", nats a token (what is given left out); "nll_note", nats a note, which does not depend on how notes are
            written as tokens; "mean", the first one's negative, of which the highest is kept.
        """
        nll = self.likelihood(batch["tokens"])[HEADER - 1 :]
        mean = float(nll.mean()) if len(nll) else 0.0
        return {"nll": mean, "nll_note": float(nll.sum()) / max(1, batch["notes"]), "mean": -mean}

    @torch.no_grad()
    def preview(self, batch: dict) -> list[Artifact]:
        """Go on from the first four bars of a validation song for four more: a MIDI file, and where matplotlib is there, a picture."""
        from songfoundry.notes.grammar import Grammar

        ids = np.asarray(batch["tokens"])
        prompt = self.tokenizer.cut(ids, 0, min(4, max(1, len(self.tokenizer.bars(ids)) // 2)))
        prompt = prompt[prompt != self.tokenizer.eos]
        grammar = Grammar(self.tokenizer, bars=4)
        grammar.start(prompt)
        written = [token for _, token in self.generate(prompt, [grammar], steps=self.config.context, top_p=0.98)]
        score = self.tokenizer.decode(np.concatenate((prompt, np.array(written, prompt.dtype))))
        return [Artifact("preview", "mid", score.dumps_midi()), *_picture(score)]

    def generate(
        self, prompt: np.ndarray | Sequence[np.ndarray], grammars: Sequence["Grammar"], *, steps: int, temperature: float = 1.0,
        top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0,
        generators: Sequence[np.random.Generator] | None = None,
    ) -> Iterator[tuple[int, int]]:  # fmt: skip
        """Write several variations at once, token by token.

        All variations go through the net as one batch with one cache. A token that the grammar forces is taken without being drawn.
        Where the context of a net is full for a variation, its window slides: header and last bars, three quarters of the context at
        most, are read anew, as the crops of training begin; a recurrent net reads on for ever.

        Parameters
        ----------
        prompt : int (n,), the tokens that all go on from, or one such array for each variation.
        grammars : one a variation, each already begun with its prompt (`Grammar.start`); they are pushed further here.
        steps : the most tokens that a variation is given; it ends before where its grammar is done.
        generators : the random numbers of each variation, so that one does not depend on how many others there are; by default
            variation n has `numpy.random.default_rng((0, n))`.
        temperature, top_k, top_p, min_p, repetition_penalty : as in `Sampling`; the penalty is on pitches (drums, and the held
            voices of chorales, may repeat).

        Returns
        -------
        tokens : an iterator of (number of the variation, token id), in the order of writing.

        Raises
        ------
        ValueError : a setting is out of its range.
        """
        sampling = Sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
        )  # fmt: skip
        alike = isinstance(prompt, np.ndarray)
        prompts = [prompt] * len(grammars) if alike else prompt
        generators = generators or [np.random.default_rng((0, number)) for number in range(len(grammars))]
        writers = [_Writer(number, [int(i) for i in ids], grammar, rng, steps)
                   for number, (ids, grammar, rng) in enumerate(zip(prompts, grammars, generators, strict=True))]  # fmt: skip
        return self._generate(writers, alike, sampling)

    def _generate(self, writers: list["_Writer"], alike: bool, sampling: Sampling) -> Iterator[tuple[int, int]]:
        """Read the prompts, then choose and read in turns; see `generate`."""
        writers, device = [writer for writer in writers if not writer.done], self.device
        if not writers:
            return
        with torch.no_grad():
            cache = self._begin(writers, alike)
        while True:
            with torch.no_grad():
                width = min(len(writer.pending) for writer in writers)
                tokens = torch.tensor([writer.pending[:width] for writer in writers], device=device)
                found, cache = self.net(tokens, cache)
                logits = found[:, -1].float().cpu().numpy()
            for writer in writers:
                del writer.pending[:width]
            # Those that still have forced tokens to be read wait for the others.
            ready = [row for row, writer in enumerate(writers) if not writer.pending]
            scores = np.stack([self.penalised(logits[row], writers[row].ids, sampling) for row in ready])
            masks = np.stack([writers[row].grammar.mask() for row in ready])
            numbers = np.array([writers[row].rng.random() for row in ready])
            for row, token in zip(ready, choose(scores, masks, numbers, sampling).tolist(), strict=True):
                writer = writers[row]
                for chosen in writer.take(token):
                    yield writer.number, chosen
            kept = [row for row, writer in enumerate(writers) if not writer.done]
            if not kept:
                return
            if len(kept) < len(writers):
                writers = [writers[row] for row in kept]
                cache = self.net.select(cache, torch.tensor(kept, device=device))
            # Without the longest the others may stand at the end of a cache whose first columns none of them needs.
            cramped = self.net.room(cache) < min(len(writer.pending) for writer in writers)
            if self._bounded and (cramped or any(writer.window > self.config.context for writer in writers)):
                with torch.no_grad():
                    cache = self._slide(writers, cache)

    def penalised(self, logits: np.ndarray, ids: Sequence[int], sampling: Sampling) -> np.ndarray:
        """Make pitches that were struck lately less likely, by the penalty on repetition; `logits` as they are without one.

        Parameters
        ----------
        logits : float (vocabulary,), after the tokens `ids`, of which the last are looked at.
        """
        if sampling.repetition_penalty == 1:
            return logits
        recent = np.array(ids[-REMEMBERED:])
        return penalised(logits, recent[self._pitches[recent]], sampling.repetition_penalty)

    def _begin(self, writers: list["_Writer"], alike: bool):
        """Read all prompts but for their last tokens, or the one that all have in common, into one cache."""
        caches = [self._opened(writer) for writer in (writers[:1] if alike else writers)]
        for writer in writers[1:] if alike else []:
            writer.window, writer.pending = writers[0].window, list(writers[0].pending)
        if alike:
            return self.net.repeat(caches[0], len(writers)) if len(writers) > 1 else caches[0]
        return self.net.join(caches)

    def _slide(self, writers: list["_Writer"], cache):
        """Read the last bars of those anew whose window is full, each when its own is, so that no variation depends on another."""
        rows = [torch.tensor([row], device=self.device) for row in range(len(writers))]
        return self.net.join([
            self._opened(writer) if writer.window > self.config.context else self.net.select(cache, row)
            for writer, row in zip(writers, rows, strict=True)
        ])  # fmt: skip

    def _opened(self, writer: "_Writer"):
        """Read what a variation has, or where that leaves no room its last bars, but for the last token: a cache of one row."""
        cache, ids = self.net.start(1, self.config.context), np.array(writer.ids)
        if self._bounded and len(ids) >= self.config.context:
            ids = self._recent(ids, self.config.context * 3 // 4)
        if len(ids) > 1:
            _, cache = self._read(ids[:-1], cache)
        writer.window, writer.pending = len(ids), [int(ids[-1])]
        return cache

    def _recent(self, ids: np.ndarray, most: int) -> np.ndarray:
        """Keep the header and the last whole bars, `most` tokens or fewer; where one bar has more, its end."""
        bars = np.asarray(self.tokenizer.bars(ids))
        # A cut repeats the tempo, which takes a place or two.
        for first in np.flatnonzero(bars >= len(ids) - most + HEADER):
            cut = self.tokenizer.cut(ids, int(first), len(bars))
            if len(cut) <= most:
                return np.asarray(cut)
        return np.concatenate((ids[:HEADER], ids[HEADER - most :]))


class _Writer:
    """Hold one variation under way: its grammar, its random numbers, and its tokens.

    `pending`: those of its tokens that the net has not read; `window`: how many the net sees, these among them.
    """

    def __init__(self, number: int, ids: list[int], grammar: "Grammar", rng: np.random.Generator, steps: int):
        self.number, self.ids, self.grammar, self.rng, self.left = number, ids, grammar, rng, steps
        self.pending: list[int] = []
        self.window = 0

    @property
    def done(self) -> bool:
        return self.left <= 0 or self.grammar.done

    def take(self, token: int) -> Iterator[int]:
        """Take a token, and after it those that the grammar forces; give each."""
        while token is not None:
            token = self.grammar.push(token)
            self.ids.append(token)
            self.pending.append(token)
            self.window += 1
            self.left -= 1
            yield token
            token = None if self.done else self.grammar.forced()


def _nll(logits: Tensor, ids: np.ndarray) -> np.ndarray:
    """Look up the negative log-likelihood of tokens, int (n,), in logits (n, vocabulary): float64 (n,), nats."""
    targets = torch.as_tensor(np.asarray(ids, np.int64), device=logits.device)
    return functional.cross_entropy(logits.float(), targets, reduction="none").double().cpu().numpy()


def _picture(score) -> list[Artifact]:
    """Draw the notes of a score as a piano roll, one colour an instrument; nothing where matplotlib is not there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    from io import BytesIO

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for number, track in enumerate(score.tracks):
        notes = track.notes.numpy()
        begins, ends = notes["time"] / score.ticks_per_quarter, (notes["time"] + notes["duration"]) / score.ticks_per_quarter
        axes.hlines(notes["pitch"], begins, ends, colors=f"C{number % 10}", linewidth=3)
    axes.set(xlabel="quarter notes", ylabel="pitch")
    picture = BytesIO()
    figure.savefig(picture, dpi=80, format="png")
    return [Artifact("preview", "png", picture.getvalue())]


SYSTEM = Compose
