"""Predict the next token of a piece with an LSTM language model.

References: Hochreiter & Schmidhuber 1997 for the cell; Zaremba et al. 2014 ("Recurrent neural network regularization",
arXiv 1409.2329) for dropout between layers alone; Press & Wolf 2017 ("Using the output embedding to improve language models",
EACL) for one matrix at both ends.
"""

import math

import torch
from torch import Tensor, nn

__all__ = ["NET", "PRESETS", "TASK", "MusicLstm"]

TASK = "compose"
# `tiny` is for trials; `lstm_128` has the sizes of an earlier study, with which it is to be compared.
PRESETS = {
    "tiny": {"embedding": 32, "hidden": 32, "layers": 1, "dropout": 0.0},
    "lstm_128": {"embedding": 128, "hidden": 128, "layers": 3, "dropout": 0.2},
    "small": {"embedding": 256, "hidden": 384, "layers": 3, "dropout": 0.2, "tied": True},
}

State = tuple[Tensor, Tensor]
_FEW = 8
"""So many steps are taken one by one."""


class MusicLstm(nn.Module):
    """Give the logits of each next token, and the state from which the next call goes on.

    Parameters
    ----------
    vocabulary : how many tokens there are.
    embedding, hidden, layers : size of a token's vector and of a layer's state; how many layers.
    dropout : share of values that are zeroed in training: of the embedding, between layers, and of the output.
    tied : whether the embedding's matrix makes the logits too.
    """

    def __init__(
        self, *, vocabulary: int = 512, embedding: int = 256, hidden: int = 384, layers: int = 3, dropout: float = 0.2,
        tied: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.layers, self.hidden = layers, hidden
        self.embed = nn.Embedding(vocabulary, embedding)
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias_ih"):
                # Gates that are open at first let the gradient reach far back (Jozefowicz et al. 2015, section 3.1).
                nn.init.ones_(parameter.data[hidden : 2 * hidden])
        self.drop = nn.Dropout(dropout)
        self.narrow = nn.Linear(hidden, embedding) if tied and hidden != embedding else nn.Identity()
        # Tied weights have one name: a file that held them under two could not be written.
        self.leave = nn.ParameterDict({"bias": torch.zeros(vocabulary)}) if tied else nn.Linear(hidden, vocabulary)
        self.tied = tied

    def forward(self, tokens: Tensor, cache: State | None = None) -> tuple[Tensor, State]:
        """Map tokens, int64 (batch, steps), to logits, float (batch, steps, vocabulary), and the state after them.

        `cache` is what an earlier call, or `start`, gave; None begins from zero.
        """
        values = self.drop(self.embed(tokens))
        if cache is not None and tokens.shape[1] <= _FEW and not self.training:
            steps = []
            for step in values.unbind(1):
                step, cache = self._one_step(step, cache)
                steps.append(step)
            values = torch.stack(steps, 1)
        else:
            values, cache = self.lstm(values, cache)
        values = self.narrow(self.drop(values))
        return (nn.functional.linear(values, self.embed.weight, self.leave["bias"]) if self.tied else self.leave(values)), cache

    def _one_step(self, values: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step by plain products: torch's own LSTM rearranges its weights at each call, which costs more than the step."""
        outputs, cells = [], []
        for output, cell, weights in zip(*state, self.lstm.all_weights, strict=True):
            to_gates, from_state, bias, second = weights
            gates = torch.addmm(bias, values, to_gates.T) + torch.addmm(second, output, from_state.T)
            enter, keep, new, leave = gates.chunk(4, 1)
            cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
            values = leave.sigmoid() * cell.tanh()
            outputs.append(values)
            cells.append(cell)
        return values, (torch.stack(outputs), torch.stack(cells))

    def start(self, batch: int = 1, room: int = 0) -> State:
        """Give the state before the first token; `room` is accepted as every net's, a state has no end."""
        zeros = self.embed.weight.new_zeros(self.layers, batch, self.hidden)
        return zeros, zeros.clone()

    def room(self, cache: State) -> float:
        """Say how many tokens a cache still takes: any number."""
        return math.inf

    def select(self, cache: State, rows: Tensor) -> State:
        """Copy the examples that `rows`, int64 (n,), names, in that order and as often."""
        return cache[0][:, rows], cache[1][:, rows]

    def repeat(self, cache: State, count: int) -> State:
        """Copy the state of one example for `count` variations of what follows."""
        return self.select(cache, torch.zeros(count, dtype=torch.long, device=cache[0].device))

    def join(self, caches: list[State]) -> State:
        """Put caches together into one batch."""
        return torch.cat([output for output, _ in caches], 1), torch.cat([cell for _, cell in caches], 1)


NET = MusicLstm
