"""Write music with a model that is loaded once: variations as scores, or one of them note by note while it is written."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from songfoundry import checkpoint, inventory, notes
from songfoundry.composing import planning
from songfoundry.composing.blending import mixed_tokens, plan_between
from songfoundry.composing.chords import parse_chords
from songfoundry.composing.ending import EndingRule
from songfoundry.composing.planning import Plan
from songfoundry.composing.prompts import parse_key, parse_metre
from songfoundry.composing.steering import ChordRule, CrewRule, LivelyRule, PartRule, Rule, Steered
from songfoundry.composing.texture import TextureRule, usual_texture
from songfoundry.composing.tonality import KeyRule
from songfoundry.composing.wishes import Wishes
from songfoundry.composing.writing import Composition, NoteReader, Stream, finish
from songfoundry.config import parse
from songfoundry.data.score_sets import STYLE_OF as _COLLECTIONS
from songfoundry.engine import threads_of
from songfoundry.errors import Cancelled, CheckpointError, ConfigError
from songfoundry.hardware import pick_device
from songfoundry.notes.arranging import NoteEvent
from songfoundry.notes.grammar import Grammar
from songfoundry.notes.vocabulary import HEADER, STYLES
from songfoundry.systems.compose import Compose
from songfoundry.systems.sampling import Sampling

__all__ = ["DEFAULT_MODEL", "SHORT_NAMES", "Composer", "find"]

DEFAULT_MODEL = "transformer"
"""Name of the model that writes where none is named."""
SHORT_NAMES = {"lstm": "compose-lstm", "transformer": "compose-transformer", "permissive": "compose-transformer-permissive"}
"""What the shipped models are called for short."""
_BAR_TOKENS = 1024
"""More tokens than this in a bar on average, and the writing stops: no music is as dense."""
_STYLE_TOKENS = 256
"""So many tokens at a prompt's end tell its style."""


class Composer:
    """Hold one model, ready to write any number of pieces.

    Parameters
    ----------
    model : one of `SHORT_NAMES`, the name of another shipped or local model, the path of a `.safetensors`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps". threads : CPU threads; None for the cores that are free now.

    Raises
    ------
    ConfigError : an unknown model or device. CheckpointError : the file is damaged, or no model that composes.
    """

    def __init__(self, model: str | os.PathLike | Compose = DEFAULT_MODEL, device: str = "auto", threads: int | None = None):
        self.threads, self.device = threads_of(threads), pick_device(device)
        if isinstance(model, Compose):
            self.system, self.name = model.eval(), model.config.net
            self.styles = STYLES
        else:
            path = find(model)
            self.system, self.name = _load(path), path.stem
            self.styles = _styles(self.system.checkpoint.card)
        if self.system.config.tokens.kind != "remi":
            kind = self.system.config.tokens.kind
            raise CheckpointError(f"expected a model that writes bars and instruments, found {self.name} for {kind} tokens: use another")
        self.system.to(self.device)
        self.tokenizer = self.system.tokenizer

    def compose(
        self, prompt=None, *, variations: int = 1, seed: int = 0, progress: Callable[[float], bool | None] | None = None,
        cancel: threading.Event | None = None, **wishes: Any,
    ) -> list[Composition]:  # fmt: skip
        """Write variations.

        Parameters
        ----------
        prompt : a MIDI file's path or bytes, a `symusic.Score`, or None to begin from nothing.
        variations : how many; each is drawn by (seed, its number), so it does not depend on how many are asked for.
        wishes : fields of `Wishes`.
        progress : called with the fraction done; returns False to stop. cancel : stops the work when it is set.

        Raises
        ------
        InputError : the prompt cannot be used. ConfigError : a wish is out of range, or does not go with another. Cancelled : as asked.
        """
        begun = time.perf_counter()
        if not 1 <= variations <= 64:
            raise ConfigError(f"expected 1 to 64 variations, found {variations}: choose another number")
        _check_seed(seed)
        wanted, plan = self._plan(prompt, wishes)
        grammar = self._grammar(plan, wanted)
        readers = [NoteReader(self.tokenizer, plan) for _ in range(variations)]
        written: list[list[NoteEvent]] = [[] for _ in range(variations)]
        bars = 0
        for number, token in self._tokens(plan, [grammar.copy() for _ in range(variations)], wanted, seed):
            event = readers[number].take(token)
            if event is not None:
                written[number].append(event)
            elif readers[number].bar > bars:
                bars = readers[number].bar
                if progress is not None and progress(min(0.999, bars / plan.bars)) is False:
                    raise Cancelled("expected to write to the end, found that the callback said stop: nothing was kept")
            if cancel is not None and cancel.is_set():
                raise Cancelled("expected to write to the end, found the work cancelled: nothing was kept")
        elapsed = time.perf_counter() - begun
        made = [finish(plan, r, events, n, seed, elapsed) for n, (r, events) in enumerate(zip(readers, written, strict=True))]
        if progress is not None:
            progress(1.0)
        return made

    def stream(self, prompt=None, *, seed: int = 0, **wishes: Any) -> Stream:
        """Write one variation, note by note: the first of `compose` with the same wishes.

        Notes come in the order of their beginning (those that begin together in any), each as soon as its last token is
        written. For real time, a receiver plays `event.seconds` after its own start.

        Returns
        -------
        stream : an iterator of `NoteEvent`; see `Stream` for what it measures.

        Raises
        ------
        InputError, ConfigError : as in `compose`, at once.
        """
        begun = time.perf_counter()
        _check_seed(seed)
        wanted, plan = self._plan(prompt, wishes)
        reader = NoteReader(self.tokenizer, plan)
        tokens = self._tokens(plan, [self._grammar(plan, wanted)], wanted, seed)
        events = (event for _, token in tokens if (event := reader.take(token)) is not None)
        return Stream(
            plan, events, lambda kept: finish(plan, reader, kept, 0, seed, time.perf_counter() - begun), begun
        )  # fmt: skip

    def blend(
        self, first, second, *, steps: int = 5, seed: int = 0, cancel: threading.Event | None = None, **wishes: Any
    ) -> list[Composition]:
        """Write pieces that lie between the continuations of two prompts, in `steps` steps from the one to the other.

        Parameters
        ----------
        first, second : as `prompt` of `compose`. steps : 2 to 33. wishes : fields of `Wishes`.

        Returns
        -------
        made : one a step, without the prompts; see `songfoundry.composing.blending`.
        """
        _check_seed(seed)
        if not 2 <= steps <= 33:
            raise ConfigError(f"expected 2 to 33 steps after --steps, found {steps}: choose another number")
        for name in ("melody", "replace_bars"):
            if wishes.get(name) is not None:
                raise ConfigError(f"expected no --{name.replace('_', '-')} with --between, found one: leave it out")
        (wanted, one), (_, other) = (self._plan(prompt, wishes) for prompt in (first, second))
        begun = time.perf_counter()
        weights = [number / (steps - 1) for number in range(steps)]
        between = [plan_between(one, other, weight) for weight in weights]
        readers = [NoteReader(self.tokenizer, plan) for plan in between]
        written: list[list[NoteEvent]] = [[] for _ in between]
        tokens = mixed_tokens(
            self.system, (one.tokens, other.tokens), [self._grammar(plan, wanted) for plan in between], weights,
            steps=one.bars * _BAR_TOKENS, seed=seed, sampling=Sampling(**wanted.sampling()),
        )  # fmt: skip
        for number, token in self._with_threads(tokens):
            if (event := readers[number].take(token)) is not None:
                written[number].append(event)
            if cancel is not None and cancel.is_set():
                raise Cancelled("expected to write to the end, found the work cancelled: nothing was kept")
        elapsed = time.perf_counter() - begun
        return [finish(plan, reader, events, number, seed, elapsed)
                for number, (plan, reader, events) in enumerate(zip(between, readers, written, strict=True))]  # fmt: skip

    def _plan(self, prompt, wishes: dict[str, Any]) -> tuple[Wishes, Plan]:
        """Read the wishes and the prompt."""
        wanted = parse(Wishes, wishes, "compose")
        locks = wanted.locks()
        wanted.check(prompt is not None)
        style, tokenizer = wanted.style_name(self.styles), self.tokenizer
        key = None if wanted.key is None else parse_key(wanted.key)
        if prompt is None:
            metre = parse_metre(wanted.metre or "4/4")
            if style == "drums":
                wanted.check_drums("the style drums", ConfigError)
            return wanted, planning.anew(
                tokenizer, bars=wanted.bars or 8, metre=metre, qpm=wanted.tempo or 120.0, style=style or self.styles[0], key=key
            )  # fmt: skip
        opened = notes.open_midi(prompt)
        score = opened.score
        common = {"name": opened.name, "style": style, "key": key, "find_key": locks.key != "off" or wanted.end}
        room = self.system.config.context * 3 // 4
        if wanted.melody is not None:
            plan = planning.accompany(tokenizer, score, part=wanted.melody, bars=wanted.bars, **common)
        elif wanted.replace_bars is not None:
            first, last = wanted.gap()
            plan = planning.infill(tokenizer, score, first=first, last=last, room=room, **common)
        else:
            plan = planning.continued(tokenizer, score, bars=wanted.bars or 8, room=room, **common)
        plan.said[:0] = opened.said
        if plan.programs == {-1}:
            wanted.check_drums(opened.name)
        if style is None:
            plan.style = "drums" if "drums" in self.styles and plan.programs == {-1} else self._likeliest_style(plan)
            plan.tokens[1] = tokenizer.ids[f"Style_{plan.style}"]
        return wanted, plan

    def _likeliest_style(self, plan: Plan) -> str:
        """Tell the style, of those that the model knows, under which the net finds a prompt's last tokens the likeliest.

        Music with pitches is no drum track, whatever the net would say: of a style it has learned little about the net expects anything.
        """
        pitched = any(program >= 0 for program in (*(plan.programs or ()), *plan.part_programs))
        styles, tokens = [style for style in self.styles if not (pitched and style == "drums")] or [*self.styles], plan.heard
        if len(styles) == 1 or len(tokens) <= HEADER + 1:
            return styles[0]
        starts = self.tokenizer.bars(tokens)
        begin = next((int(start) for start in starts if len(tokens) - start <= _STYLE_TOKENS), max(HEADER, len(tokens) - _STYLE_TOKENS))
        row = np.concatenate((tokens[:HEADER], tokens[begin:])).astype(np.int64)
        rows = np.repeat(row[None], len(styles), 0)
        rows[:, 1] = [self.tokenizer.ids[f"Style_{style}"] for style in styles]
        batch = torch.from_numpy(rows).to(self.device)
        with self._at_work(), torch.inference_mode():
            logits = self.system.net(batch[:, :-1])[0][:, HEADER - 1 :].float()
            given = batch[:, HEADER:].flatten()
            nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), given, reduction="none").view(len(rows), -1)
        return styles[int(nll.sum(1).argmin())]

    def _grammar(self, plan: Plan, wanted: Wishes) -> Steered:
        """Make the grammar of a plan, with the rules that the wishes ask for."""
        locks = wanted.locks()
        if plan.mode in ("accompany", "infill"):
            # What is kept there has its metres and tempi already.
            locks = locks.model_copy(update={"metre": True, "tempo": True})
        # The grammar counts its bars from the first one after the header or a mark of filling.
        fills = np.flatnonzero(self.tokenizer.kinds[plan.tokens] == "Fill")
        begun = int((self.tokenizer.bars(plan.tokens) > (fills[-1] if len(fills) else 0)).sum())
        grammar = Grammar(
            self.tokenizer, locks=locks, programs=plan.programs if locks.instruments else None, scale=plan.scale,
            metre_plan=lambda bar: plan.metre_of(max(0, bar + 1 - begun)), bars=plan.bars - 1,
        )  # fmt: skip
        grammar.start(plan.tokens)
        plan.free_metre, plan.free_tempo = not locks.metre, not locks.tempo
        # An accompaniment may be silent where the part is not.
        rules: list[Rule] = [PartRule(self.tokenizer, plan.part, plan.part_programs) if plan.part else LivelyRule(self.tokenizer)]
        programs = plan.programs if locks.instruments else None
        if programs is None:
            rules.append(CrewRule(self.tokenizer, sorted({*(plan.programs or ()), *plan.part_programs})))
        if plan.key is not None and locks.key != "off" and wanted.chords is None:
            # Chords that were asked for have the last word on what is heard.
            usual = plan.usual if wanted.key is None else None
            gap = plan.mode == "infill"
            rules.append(KeyRule(self.tokenizer, plan.key, wanted.key_strength, plan.bars, plan.metres[0], usual, around=gap))
        # Of what has a prompt's instruments the prompt tells how thick it is, else the style.
        texture = plan.texture if programs is not None else None if plan.programs is None or plan.texture is None else plan.texture.loose()
        texture = texture or usual_texture(plan.style or "other")
        part = {"part": plan.part, "part_programs": plan.part_programs}
        until = plan.bars if wanted.end else np.inf  # the ending has rules of its own
        rules.append(TextureRule(self.tokenizer, texture, plan.metres[0], programs, until=until, **part))
        if wanted.chords is not None:
            rules.append(ChordRule(self.tokenizer, parse_chords(wanted.chords)))
        if wanted.end:
            others = programs is None or any(program >= 0 for program in programs - set(plan.part_programs))
            rules.append(EndingRule(self.tokenizer, plan.bars, plan.key, plan.texture, plan.metres[0], pitched=others, **part))
        return Steered(grammar, self.tokenizer, rules, written=1, position=0 if plan.mode in ("new", "accompany") else -1)

    def _tokens(self, plan: Plan, grammars: Sequence[Steered], wanted: Wishes, seed: int) -> Iterator[tuple[int, int]]:
        """Let the net write; yields (variation, token)."""
        generators = [np.random.default_rng((seed, number)) for number in range(len(grammars))]
        yield from self._with_threads(
            self.system.generate(plan.tokens, grammars, steps=plan.bars * _BAR_TOKENS, generators=generators, **wanted.sampling())
        )

    def _with_threads(self, written: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Let the net work in the threads that this composer may use, and give them back while others hold what was written."""
        while True:
            with self._at_work():
                pair = next(written, None)
            if pair is None:
                return
            yield pair

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Take the threads that this composer may use; the number belongs to the whole process, so it is given back."""
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            if before != self.threads:
                torch.set_num_threads(before)


def find(model: str | os.PathLike) -> Path:
    """Find the file of a model that composes, by one of `SHORT_NAMES`, its name or its path; raises `ConfigError`."""
    return inventory.find_model(SHORT_NAMES.get(os.fspath(model), model), "compose")


def _load(path: Path) -> Compose:
    """Load a model that composes; raises `CheckpointError` for another one."""
    about = checkpoint.read_header(path)
    if about.system != "compose":
        raise CheckpointError(f"expected a model that composes, found {path.stem}, which was made to {about.system}: use another")
    return checkpoint.load(path)


def _styles(card: dict[str, Any]) -> tuple[str, ...]:
    """Name the styles that a model was trained on, by the collections on its card; all where it does not say, or of some not."""
    folders = (card.get("data") or {}).get("folders") or []
    known = {_COLLECTIONS.get(Path(str(folder)).stem) for folder in folders}
    return tuple(style for style in STYLES if style in known) if known and None not in known else STYLES


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise ConfigError(f"expected a seed from 0 on, found {seed}: choose another number")
