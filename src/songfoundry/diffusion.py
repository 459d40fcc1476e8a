"""Turn things into noise and back: schedules as values, samplers as functions, for pictures and for the refinement of sounds.

A noisy thing is ``signal * clean + noise * epsilon`` with epsilon standard normal. Steps run from 0 (clean) to `Schedule.steps` (all
or nearly all noise). A sampler knows no net: it is handed a *denoiser*, which guesses the clean thing from a noisy one and its step, and
walks down a path of steps. All of them are written in the denoiser's guess, so that they hold for every schedule, also for one whose
last step has no signal left.

References: Ho et al. 2020 (DDPM, arXiv 2006.11239); Song et al. 2021 (DDIM, arXiv 2010.02502); Nichol & Dhariwal 2021 (arXiv 2102.09672);
Salimans & Ho 2022 (arXiv 2202.00512); Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095); Liu et al. 2023 (rectified flow, arXiv 2209.03003).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["PREDICTIONS", "SAMPLERS", "SCHEDULES", "Denoiser", "Schedule", "ddim", "ddpm", "dpm_plus_plus", "heun", "schedule"]

Denoiser = Callable[[Tensor, int], Tensor]
"""Guesses the clean thing: noisy, float (batch, ...), and its step -> clean, of the same shape."""
Watch = Callable[[int, Tensor, Tensor], bool | None]
"""Is told after each step how many are done, the thing as it is now and the last guess of the clean one; False stops the walk."""
SCHEDULES = ("linear", "cosine", "rectified")
PREDICTIONS = ("epsilon", "v")


@dataclass(frozen=True)
class Schedule:
    """Hold how much signal and how much noise there is at each step.

    `signal`, `noise`: float64 (steps + 1,), from (1, 0) at step 0 on. `falling`, `rising`: how fast the one goes and the other
    comes along the path (float64, as these), which is what a net that predicts "v" learns: rising * epsilon - falling * clean.
    """

    name: str
    signal: Tensor
    noise: Tensor
    falling: Tensor
    rising: Tensor

    @property
    def steps(self) -> int:
        """Number of the last, noisiest step."""
        return len(self.signal) - 1

    def path(self, count: int) -> list[int]:
        """Choose `count` steps to take, evenly in time: the last step, ..., 0.

        Raises
        ------
        ValueError : fewer than one, or more than there are.
        """
        if not 1 <= count <= self.steps:
            raise ValueError(f"expected 1 to {self.steps} steps, found {count}")
        return [round(self.steps * (count - k) / count) for k in range(count + 1)]

    def log_snr(self, step: int) -> float:
        """Give half the logarithm of the signal-to-noise ratio at a step: infinite at 0, minus infinite where there is no signal."""
        signal, noise = float(self.signal[step]), float(self.noise[step])
        if noise == 0:
            return math.inf
        return math.log(signal / noise) if signal > 0 else -math.inf

    def mixed(self, clean: Tensor, epsilon: Tensor, step: Tensor) -> Tensor:
        """Make clean things noisy: float (batch, ...), epsilon of the same shape, step int64 (batch,)."""
        return _at(self.signal, step, clean) * clean + _at(self.noise, step, clean) * epsilon

    def target(self, clean: Tensor, epsilon: Tensor, step: Tensor, prediction: str) -> Tensor:
        """Give what a net is to predict of a noisy thing, by the name of the prediction; arguments as of `mixed`.

        Reference: Ho et al. 2020, equation 14, for "epsilon"; Salimans & Ho 2022, section 4, for "v" (of the rectified flow: the velocity
        of Liu et al. 2023, equation 1, turned round).
        """
        if prediction == "epsilon":
            return epsilon
        return _at(self.rising, step, clean) * epsilon - _at(self.falling, step, clean) * clean

    def clean(self, noisy: Tensor, predicted: Tensor, step: int, prediction: str) -> Tensor:
        """Work out the clean thing from a noisy one, float (batch, ...), and what a net predicted of it."""
        signal, noise = float(self.signal[step]), float(self.noise[step])
        if prediction == "epsilon":
            # Where next to no signal is left, the guess is as large as float32 can hold without harm: whoever asks clips it.
            return (noisy - noise * predicted) / max(signal, 1e-5)
        falling, rising = float(self.falling[step]), float(self.rising[step])
        return (rising * noisy - noise * predicted) / (rising * signal + falling * noise)


def _at(table: Tensor, step: Tensor, like: Tensor) -> Tensor:
    """Look numbers up for a batch, so that they multiply things of the shape of `like`."""
    # Cast before it moves: there are devices that hold no float64.
    return table.to(like.dtype).to(like.device)[step].view(-1, *[1] * (like.dim() - 1))


def schedule(name: str, steps: int = 1000) -> Schedule:
    """Make a schedule by its name.

    Parameters
    ----------
    name : "linear" (betas from 1e-4 to 0.02 at 1,000 steps, of other numbers in proportion: Ho et al. 2020, section 4), "cosine"
        (Nichol & Dhariwal 2021, equation 17, betas at most 0.999) or "rectified" (straight lines from the clean thing to noise).
    steps : how many.

    Raises
    ------
    ValueError : another name, or no step.
    """
    if steps < 1:
        raise ValueError(f"expected at least one step, found {steps}")
    if name == "rectified":
        time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        ones = torch.ones_like(time)
        return Schedule(name, 1 - time, time, ones, ones)
    if name == "linear":
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps)
    elif name == "cosine":
        time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        power = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = 1 - power[1:] / power[:-1]
    else:
        raise ValueError(f"expected a schedule of {', '.join(SCHEDULES)}, found {name!r}")
    power = torch.cat((torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas.clamp(max=0.999), 0)))
    signal, noise = power.sqrt(), (1 - power).sqrt()
    # On the circle signal² + noise² = 1 the one's derivative is the other.
    return Schedule(name, signal, noise, noise, signal)


def ddpm(
    denoise: Denoiser, start: Tensor, schedule: Schedule, steps: int, *, draw: Callable[[], Tensor] | None = None,
    watch: Watch | None = None,
) -> Tensor:  # fmt: skip
    """Walk back at random: each step is drawn from what the last one may have come from, if the guess of the clean thing is right.

    Parameters
    ----------
    denoise : guesses the clean thing. start : float (batch, ...), standard normal. steps : how many to take, at most `schedule.steps`.
    draw : gives standard normal numbers of the shape of `start`, once a step but for the last; default: torch's own.
    watch : is told of each step; False ends the walk there.

    Returns
    -------
    clean : float (batch, ...).

    Reference
    ---------
    Ho et al. 2020, algorithm 2 with equations 6 and 7 (the lower of both variances), for any two steps and any schedule.
    """
    draw = draw or (lambda: torch.randn_like(start))
    thing = start
    for number, (now, then) in enumerate(pairwise(schedule.path(steps)), 1):
        guess = denoise(thing, now)
        signal, noise = float(schedule.signal[now]), float(schedule.noise[now])
        less, left = float(schedule.signal[then]), float(schedule.noise[then])
        # What the way from `then` to `now` multiplies by, and the variance that it adds.
        factor = signal / less
        added = noise**2 - (factor * left) ** 2
        mean = (factor * left**2 * thing + less * added * guess) / noise**2
        thing = mean + left * math.sqrt(max(added, 0)) / noise * draw() if then else mean
        if _stopped(watch, number, thing, guess):
            break
    return thing


def ddim(
    denoise: Denoiser, start: Tensor, schedule: Schedule, steps: int, *, draw: Callable[[], Tensor] | None = None,
    watch: Watch | None = None,
) -> Tensor:  # fmt: skip
    """Walk back without chance: keep the noise that the guess implies, and have less of it. Arguments as of `ddpm`; nothing is drawn.

    Reference: Song et al. 2021, equation 12 with sigma = 0. The same step, of first order, begins and ends `dpm_plus_plus` and `heun`.
    """
    thing = start
    for number, (now, then) in enumerate(pairwise(schedule.path(steps)), 1):
        guess = denoise(thing, now)
        thing = _step(schedule, thing, guess, now, then)
        if _stopped(watch, number, thing, guess):
            break
    return thing


def dpm_plus_plus(
    denoise: Denoiser, start: Tensor, schedule: Schedule, steps: int, *, draw: Callable[[], Tensor] | None = None,
    watch: Watch | None = None,
) -> Tensor:  # fmt: skip
    """Walk back by second order, at one guess a step: the guess before says how the guess is changing. Arguments as of `ddim`.

    Reference: Lu et al. 2022, algorithm 2 (DPM-Solver++ 2M); the first and the last step are of first order.
    """
    thing = start
    before, last_h = None, math.inf
    for number, (now, then) in enumerate(pairwise(schedule.path(steps)), 1):
        guess = denoise(thing, now)
        h = schedule.log_snr(then) - schedule.log_snr(now)
        ahead = guess
        if before is not None and math.isfinite(h) and math.isfinite(last_h):
            ahead = guess + h / (2 * last_h) * (guess - before)
        thing = _step(schedule, thing, ahead, now, then)
        before, last_h = guess, h
        if _stopped(watch, number, thing, guess):
            break
    return thing


def heun(
    denoise: Denoiser, start: Tensor, schedule: Schedule, steps: int, *, draw: Callable[[], Tensor] | None = None,
    watch: Watch | None = None,
) -> Tensor:  # fmt: skip
    """Walk back by second order, at two guesses a step but the last: step, guess again there, and go with both. Arguments as of `ddim`.

    Reference: Karras et al. 2022 (arXiv 2206.00364), algorithm 1, here with the exponential weights of Cox & Matthews 2002 (equation 22,
    ETD2RK) over the log-SNR in place of the plain mean over sigma, which loses its footing on the long first step from nearly pure noise.
    """
    thing = start
    for number, (now, then) in enumerate(pairwise(schedule.path(steps)), 1):
        guess = denoise(thing, now)
        trial = _step(schedule, thing, guess, now, then)
        if then:
            h = schedule.log_snr(then) - schedule.log_snr(now)
            share = (h + math.expm1(-h)) / (h * -math.expm1(-h)) if math.isfinite(h) else 1.0
            again = denoise(trial, then)
            thing = _step(schedule, thing, torch.lerp(guess, again, share), now, then)
        else:
            thing = trial
        if _stopped(watch, number, thing, guess):
            break
    return thing


def _step(schedule: Schedule, thing: Tensor, guess: Tensor, now: int, then: int) -> Tensor:
    """Go from one step to an earlier one as if the guess of the clean thing were right all the way."""
    signal, noise = float(schedule.signal[now]), float(schedule.noise[now])
    less, left = float(schedule.signal[then]), float(schedule.noise[then])
    return left / noise * thing + (less - signal * left / noise) * guess


def _stopped(watch: Watch | None, number: int, thing: Tensor, guess: Tensor) -> bool:
    return watch is not None and watch(number, thing, guess) is False


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpm++": dpm_plus_plus, "heun": heun}
"""The samplers by the names that users know."""
