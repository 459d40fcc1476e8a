"""Compare the speed of our SDR v4 with museval's on the same stems, in one run on one thread.

    python benchmarks/sdr_speed.py [--seconds 3] [--stems 4] [--taps 512]

museval also computes ISR, SIR and SAR, which need distortion filters; SDR does not (metrics/separation.py says why).
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time  # noqa: E402

import numpy as np  # noqa: E402

from songfoundry.metrics import bsseval, separation  # noqa: E402


def stems_and_estimates(count: int, seconds: float, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Make coloured-noise stems and noisy estimates of them: float64 (stems, channels, samples)."""
    draw = np.random.default_rng(0)
    references = np.cumsum(draw.standard_normal((count, 2, int(seconds * rate))), axis=-1)
    references -= references.mean(axis=-1, keepdims=True)
    references *= 0.2 / np.abs(references).max(axis=(1, 2), keepdims=True)
    return references, references + 0.02 * draw.standard_normal(references.shape)


def cpu_seconds(work, repeats: int) -> float:
    """Give the least CPU time of some runs: what the work costs when nothing else disturbs it."""
    costs = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        costs.append(time.process_time() - start)
    return min(costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the stems")
    parser.add_argument("--stems", type=int, default=4)
    parser.add_argument("--rate", type=int, default=44100)
    parser.add_argument("--taps", type=int, default=512, help="museval's filter length (its default: 512)")
    options = parser.parse_args()
    references, estimates = stems_and_estimates(options.stems, options.seconds, options.rate)
    found = {}

    def ours():
        found["ours"] = separation.frame_sdr(references, estimates, options.rate)

    def theirs():
        found["museval"] = bsseval.bss_eval(references, estimates, options.rate, filter_taps=options.taps)["SDR"]

    mine, other = cpu_seconds(ours, 5), cpu_seconds(theirs, 1)
    print(f"{options.stems} stereo stems of {options.seconds:g} s at {options.rate} Hz, CPU seconds")
    print(f"{'songfoundry':<14}{mine:>10.4f}{1:>10.0f}x")
    print(f"{'museval':<14}{other:>10.4f}{other / mine:>10.0f}x")
    print(f"largest difference {np.abs(found['ours'] - found['museval']).max():.1e} dB")


if __name__ == "__main__":
    main()
