"""Turn waveforms into spectra and images, and back: the one front end, as `nn.Module`s and functions of tensors.

`Stft` is exact both ways (separation); `LogMel` and `InstantaneousMel` are images for nets that make sound; `pghi` and `griffin_lim` find
the phase that an image of magnitudes lacks.
"""

from songfoundry.spectral.frames import Frames
from songfoundry.spectral.instantaneous import InstantaneousMel
from songfoundry.spectral.mel import LogMel, mel_filterbank
from songfoundry.spectral.phase import griffin_lim, pghi
from songfoundry.spectral.stft import Stft, as_complex, as_real

__all__ = ["Frames", "InstantaneousMel", "LogMel", "Stft", "as_complex", "as_real", "griffin_lim", "mel_filterbank", "pghi"]
