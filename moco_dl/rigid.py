"""The rigid stage: whole-frame shifts by FFT correlation with the reference, batched."""

import math
from copy import copy

import numpy as np
import torch
from torch import Tensor

from moco_dl.agreement import agreement_of_parts

FINE, COARSE = 1.5, 20.0  # px, sigmas of the difference of Gaussians that is correlated
TAPER = 0.25  # share of each side over which the frame fades out, so that its edges do not correlate
CLIP = 3.0  # standard deviations of a frame's details: hot pixels and flashing cells tell little of the frame
WHITEN = 0.5  # power of the reference's spectrum that is divided out; 1 would be phase only
NEAR = 1 / 3  # of the largest shift: farther away, what is bright and moves otherwise is told from the scene
RIVAL = 0.3  # of the highest peak, from which on one near by may be that of the scene
APART = 3  # px, by which peaks differ at least that are no slopes of one another
NOISE = 0.35  # cycles/px from which on a frame's spectrum is taken for noise
CLUTTER = 4.0  # times white noise, from which on more is known: what bends, and cells that flash, leave less
OUTSHINES = 3.0  # times the reference's power: flashing cells of usual movies have less than its own
RING, RINGS = 0.01, 71  # cycles/px: width and number of the rings over which power is averaged
PART = 2**17  # pixels of frames that a CPU transforms at a time: their spectra stay in its caches


class RigidRegistration:
    """Shifts of frames against one reference.

    A band-passed cross-correlation. Only the reference's spectrum is flattened, never the frame's: in dim
    frames that would weight noise like signal, and plain phase correlation fails there.
    """

    def __init__(self, reference: Tensor, max_shift: float):
        """`reference` (H, W) float32, NaN where unknown; shifts are looked for up to `max_shift` px."""
        self.reference = reference
        height, width = reference.shape
        self.limit, self.most = [int(min(max_shift, (size - 3) // 2)) for size in (height, width)], max_shift
        self.window = _taper(height, reference.device)[:, None] * _taper(width, reference.device)
        like = {"dtype": reference.dtype, "device": reference.device}
        fy, fx = torch.fft.fftfreq(height, **like)[:, None], torch.fft.rfftfreq(width, **like)
        square = fy.square() + fx.square()
        radius = -2 * torch.pi**2 * square
        band = torch.exp(radius * FINE**2) - torch.exp(radius * COARSE**2)
        spectrum = self._spectrum(reference[None])[0]
        self.matched, self.clutter = band * spectrum.conj(), torch.ones_like(square)
        self.template = self.matched / spectrum.abs().clamp_min(1e-6).pow(WHITEN)
        self.noisy, self.rings = square > NOISE**2, (square.sqrt() / RING).long()

    def _spectrum(self, images: Tensor) -> Tensor:
        weight, details = self.window, images * self.window
        if not bool(torch.isfinite(details.sum())):
            valid = torch.isfinite(images)
            weight, details = valid * self.window, torch.where(valid, details, 0.0)
        for axis in (-1, -2):  # stripes of a detector, along its rows or columns, would tell of where it is
            means = details.sum(dim=axis, keepdim=True) / weight.sum(dim=axis, keepdim=True).clamp_min(1e-12)
            details -= weight * means
        limit = CLIP * details.square().mean(dim=(-2, -1), keepdim=True).sqrt()
        return torch.fft.rfft2(details.clamp_(-limit, limit))

    def power(self, frames: Tensor) -> Tensor:
        """(B, RINGS) mean power of frames (B, H, W) in rings of spatial frequencies."""
        rings = self.rings.flatten()
        count = torch.bincount(rings.cpu(), minlength=RINGS).to(self.window)
        means = []
        for part in _parts(frames):
            shares = self._spectrum(part).abs().square().flatten(1) / count[rings]
            means.append(shares.new_zeros(len(part), RINGS).index_add_(1, rings, shares))
        return torch.cat(means)

    def clutter_of(self, power: np.ndarray) -> np.ndarray:
        """(RINGS,) what frames of a mean `power` (RINGS,) hold beyond the reference, over white noise; or 1.

        Activity that comes and goes over much of the frame tells of itself, not of where the tissue is.
        """
        times = self._beyond(power)[0]
        return np.where(times > CLUTTER, times, np.float32(1))

    def outshone(self, power: np.ndarray, size: float) -> bool:
        """Whether activity as wide as Gaussians of a sigma of `size` px, or wider, outshines the reference.

        Of frames of a mean `power` (RINGS,).
        """
        times, own = self._beyond(power)
        wide = slice(1, math.ceil(1 / (2 * math.pi * size * RING)))  # but not the mean of frames
        return bool(((times > CLUTTER) & (times > OUTSHINES * own))[wide].any())

    def _beyond(self, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(RINGS,) what frames of a mean `power` hold beyond the reference, and this, over white noise."""
        white = max(power[int(NOISE / RING) : int(0.5 / RING)].mean(), 1e-30)
        own = self.power(self.reference[None])[0].cpu().numpy()
        return (power - own) / white, own / white

    def through(self, clutter: np.ndarray) -> "RigidRegistration":
        """The same, but maps are of frames with `clutter` (RINGS,), see there.

        This is the matched filter in noise that is not white (Dwork, Proc. IRE 38, 1950).
        """
        other = copy(self)
        other.clutter = torch.from_numpy(clutter).to(self.window)[self.rings]
        other.matched = self.matched / other.clutter
        return other

    def correlation_maps(self, frames: Tensor) -> Tensor:
        """Of frames (B, H, W) at all shifts (B, 2 my + 1, 2 mx + 1), in standard deviations of what noise adds.

        A pixel's noise is taken to be new in each (but see `through`). The reference's spectrum is left as it
        is: so most is seen through noise.
        """
        filtered = self.matched * self.clutter.sqrt()
        weights = torch.fft.irfft2(filtered, s=self.window.shape).flip(0, 1) * self.window
        weight = weights.square().sum().sqrt()
        maps = []
        for part in _parts(frames):
            spectrum = self._spectrum(part)
            noise = (
                spectrum.abs()[:, self.noisy].square().mean(dim=1) / self.window.square().sum()
            )  # of a pixel
            added = (noise.sqrt() * weight).clamp_min(1e-12)  # their product may overflow
            maps.append(self._near(spectrum, self.matched)[:, 1:-1, 1:-1] / added[:, None, None])
        return torch.cat(maps)

    def _near(self, spectrum: Tensor, template: Tensor) -> Tensor:
        """Correlations (B, 2 my + 3, 2 mx + 3) up to the limit and one pixel more, from spectra of frames."""
        my, mx = self.limit
        columns = _around_zero(torch.fft.ifft(spectrum * template, dim=1), my + 1, 1)
        return _around_zero(torch.fft.irfft(columns, n=self.window.shape[1], dim=2), mx + 1, 2)

    def shifts(self, frames: Tensor) -> Tensor:
        """Shift of each frame (B, H, W): (B, 2) float32 px, (dy, dx), backward, to a fraction of a pixel."""
        near = torch.cat([self._near(self._spectrum(part), self.template) for part in _parts(frames)])
        my, mx = self.limit
        y, x = self._of_the_scene(near[:, 1:-1, 1:-1], frames)
        y, x = y + 1, x + 1
        each = torch.arange(len(near), device=near.device)[:, None]
        around = torch.arange(-1, 2, device=near.device)
        dy = y - my - 1 + _vertex(near[each, y[:, None] + around, x[:, None]])
        dx = x - mx - 1 + _vertex(near[each, y[:, None], x[:, None] + around])
        return torch.stack((dy, dx), dim=1).clamp(-self.most, self.most)

    def _of_the_scene(self, correlations: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B,) of the highest peaks; of those near by, if parts of the frame agree better there."""
        (my, mx), (ny, nx) = self.limit, (int(NEAR * most) for most in self.limit)
        y, x, highest = _highest(correlations)
        v, u, height = _highest(correlations[:, my - ny : my + ny + 1, mx - nx : mx + nx + 1])
        v, u = v + my - ny, u + mx - nx
        rivals = (height > RIVAL * highest) & (torch.maximum((y - v).abs(), (x - u).abs()) > APART)
        for i in torch.nonzero(rivals)[:, 0].tolist():
            far, close = ((int(one[i]) - my, int(other[i]) - mx) for one, other in ((y, x), (v, u)))
            if self._alike(frames[i], close) > self._alike(frames[i], far):
                y[i], x[i] = v[i], u[i]
        return y, x

    def _alike(self, frame: Tensor, shift: tuple[int, int]) -> float:
        """How well parts of a frame (H, W) agree with the reference, if it is shifted by whole px (dy, dx)."""
        there, here = (
            tuple(slice(max(by, 0), n - max(-by, 0)) for by, n in zip(way, frame.shape, strict=True))
            for way in ([-by for by in shift], shift)
        )
        one, other = self.reference[there].cpu().numpy(), frame[here].cpu().numpy()
        total, count = agreement_of_parts(one, other, np.isfinite(one) & np.isfinite(other))
        return total / max(count, 1)


def _parts(frames: Tensor) -> tuple[Tensor, ...]:
    """Frames (B, H, W) a few at a time; on a GPU all."""
    return frames.split(max(PART // frames[0].numel(), 1) if frames.device.type == "cpu" else len(frames))


def _around_zero(values: Tensor, count: int, axis: int) -> Tensor:
    """What is at places from -count to count along a periodic `axis`."""
    size = values.shape[axis]
    return torch.cat((values.narrow(axis, size - count, count), values.narrow(axis, 0, count + 1)), dim=axis)


def _highest(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places y, x (B,) of the highest values of images (B, h, w), and these."""
    height, place = images.flatten(1).max(dim=1)
    return place // images.shape[2], place % images.shape[2], height


def _vertex(three: Tensor) -> Tensor:
    """Place (B,) of the top of the parabola through three equally spaced values (B, 3), in (-0.5, 0.5)."""
    left, middle, right = three.unbind(1)
    bend = 2 * middle - left - right
    return torch.where(bend > 0, 0.5 * (right - left) / bend, 0).clamp(-0.5, 0.5)


def _taper(size: int, device: torch.device) -> Tensor:
    """Flat window with raised-cosine ends, `(size,)`."""
    edge = torch.arange(size, dtype=torch.float32, device=device) + 0.5
    ramp = (torch.minimum(edge, size - edge) / (TAPER * size)).clamp(max=1.0)
    return 0.5 - 0.5 * torch.cos(torch.pi * ramp)
