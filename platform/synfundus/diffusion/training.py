"""Training of the generator: a conditional denoising diffusion model (Ho et al. 2020, arXiv 2006.11239).

Symbols and equation numbers are in docs/generator.md. Image, timestep, noise, flip, drawn and hidden labels at a global
sample position depend only on (seed, position), so that a resumed training is exact; see `synfundus.training.learner`.
"""

import copy
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from diffusers.models.resnet import ResnetBlock2D
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from synfundus.diffusion.checkpoint import load_weights, read_unet_weights, save_generator
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.denoising import scaled, target_errors
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.diffusion.memorisation import (
    NearestTrainingImage,
    choose_canaries,
    memorisation_point,
    repeated_images,
)
from synfundus.diffusion.metrics import GeneratorMetrics
from synfundus.diffusion.noise import normal, uniform
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.unet import IMAGE_CHANNELS, build_unet
from synfundus.errors import WrongInputError
from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.labels import (
    HEADS,
    LABEL_NAMES,
    NUM_LABELS,
    FloatArray,
    condition_vector,
    draw_labels,
    null_condition,
)
from synfundus.seeds import derive_seed
from synfundus.storage import Storage
from synfundus.training.learner import Learner, image_indices
from synfundus.training.metadata import HeldOutLoss, MemorisationPoint, StepMetrics
from synfundus.training.read_ahead import ReadAhead

NUM_HELD_OUT = 256
"""Evaluations of the network in a held-out loss: the largest number of validation images. Fewer images repeat."""
_HELD_OUT_BATCH = 16
"""Images of one forward pass. Fixed, so that rounding depends neither on the batch size nor on the world size."""
_MEMORISATION_BATCH = 16
"""Samples denoised in lock step for the memorisation curve."""
MAX_LOSS_RATIO = 10.0
"""Largest loss, as a multiple of the loss of a constant output 0. Above it the training has diverged."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_SIDE_HEAD, _SIDE_LABEL = HEADS["eye_side"].start, LABEL_NAMES.index("eye_side")
_FUNDUS_HEAD, _FUNDUS_LABEL = HEADS["is_fundus"].start, LABEL_NAMES.index("is_fundus")


class ImageSource(Protocol):
    """Source of training images; `synfundus.fundus.dataset.PreparedImages` is one."""

    size_px: int

    def num_images(self, split: str) -> int:
        """Return the number of images of a split."""
        ...

    def labels(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> LabelBatch:
        """Return labels and patients of images of a split by index; decodes no image."""
        ...

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        """Return images of a split by index, with their labels."""
        ...


def ema_decay_at(step: int, ema_decay: float) -> float:
    """Return the decay of the averaged weights after step `step`, counted from 0.

    Early in the run they are a mean over about the last tenth of its steps; later the decay is `ema_decay`.
    """
    return min(ema_decay, (1 + step) / (10 + step))


def stratified_uniform(seed: int, positions: range, batch_size: int) -> Tensor:
    """Draw uniform numbers in [0, 1), float64 (len(positions),), evenly spread within each batch.

    The numbers of a batch share one random offset, as in Kingma et al. 2021 (arXiv 2107.00630, appendix I.1), which
    lowers the variance of the loss. Steps of the golden ratio, instead of 1 / batch_size, also spread each worker's
    share of the batch evenly.
    """
    position_B = torch.arange(positions.start, positions.stop)
    seeds_B = torch.full_like(position_B, derive_seed("timestep", seed))
    offset_B = uniform(seeds_B, position_B // batch_size, 1)[:, 0]
    return (offset_B + (position_B % batch_size) * _GOLDEN_RATIO) % 1.0


def timesteps_at(quantile_B: Tensor, config: GeneratorConfig, schedule: Schedule) -> Tensor:
    """Return the timesteps, int64 (B,), at these quantiles in [0, 1) of the configured distribution."""
    num_timesteps = config.schedule.num_train_timesteps
    if config.timestep_sampling == "uniform":
        return (quantile_B * num_timesteps).long().clamp(max=num_timesteps - 1)
    log_sigma_B = torch.special.ndtri(quantile_B) * config.log_normal_std + config.log_normal_mean
    levels_T = -0.5 * schedule.log_snr.cpu()
    return torch.searchsorted((levels_T[1:] + levels_T[:-1]) / 2, log_sigma_B)


def loss_weight(t_B: Tensor, schedule: Schedule, min_snr_gamma: float | None) -> Tensor:
    """Return the weight of each image's squared error in the target, float32 (B,).

    Hang et al. 2023 (arXiv 2303.09556, section 3.4) weigh the clean image's error by min(SNR, gamma). That error is the
    error in eps divided by SNR, or the error in v divided by SNR + 1.
    """
    if min_snr_gamma is None:
        return torch.ones_like(t_B, dtype=torch.float32)
    snr_B = schedule.snr(t_B)
    shift = 0.0 if schedule.config.prediction == "epsilon" else 1.0
    return (snr_B.clamp(max=min_snr_gamma) / (snr_B + shift)).float()


def mask_conditions(
    value_BV: FloatArray, known_BK: NDArray[np.bool_], hidden_BK: NDArray[np.bool_], null_B: NDArray[np.bool_]
) -> FloatArray:
    """Return condition vectors (B, 36) with the labels `hidden_BK` unknown and the null condition in rows `null_B`."""
    condition_BD = condition_vector(value_BV, known_BK & ~hidden_BK)
    condition_BD[null_B] = null_condition()
    return condition_BD


def _weighted_mean_square(x_BCHW: Tensor, weight_B: Tensor) -> Tensor:
    """Return the mean over images of `weight_B` times the mean square of each image."""
    return (weight_B * x_BCHW.square().mean(dim=(1, 2, 3))).mean()


def _require_fitting_images(images: ImageSource, config: GeneratorConfig) -> None:
    """Raise WrongInputError if there are no training images, or images of another size than the network's."""
    if images.size_px != config.unet.size_px:
        raise WrongInputError(
            f"unet.size_px: is {config.unet.size_px}, but the images have {images.size_px} px; make them equal"
        )
    if images.num_images("train") == 0:
        raise WrongInputError("the split train has no images; add photographs, or raise its fraction")


def _initial_unet(config: GeneratorConfig) -> nn.Module:
    """Return the network with the weights of `init_from`, or with weights that depend on the seed alone."""
    unet = build_unet(
        config.unet, derive_seed("weights", config.seed), gradient_checkpointing=config.gradient_checkpointing
    )
    if config.init_from is not None:
        load_weights(unet, read_unet_weights(config.init_from), config.init_from)
    return unet


class GeneratorLearner(Learner):
    """The generator in training."""

    config: GeneratorConfig
    inputs: ReadAhead[ImageBatch]
    nearest: NearestTrainingImage | None = None
    """Search for copies of training images, by which `memorisation` measures; None: nothing is measured."""

    def __init__(
        self,
        images: ImageSource,
        config: GeneratorConfig,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Build the network and its average.

        Raises:
            WrongInputError: no images, images of another size, too few patients for the canaries, or weights of
                `init_from` that do not fit.
        """
        _require_fitting_images(images, config)
        super().__init__(_initial_unet(config), config, device, rank, world_size)
        self._images = images
        self._num_images = num_images = images.num_images("train")
        self._canaries = []
        if config.canaries is not None:
            patients = images.labels("train", range(num_images)).patients
            self._canaries = choose_canaries(patients, config.canaries, config.seed)
        epoch_M = repeated_images(num_images, self._canaries)
        self.inputs = ReadAhead(
            lambda positions: images.batch("train", epoch_M[image_indices(config.seed, positions, len(epoch_M))])
        )
        self.schedule = Schedule(config.schedule, device)
        self._shape_CHW = (IMAGE_CHANNELS, config.unet.size_px, config.unet.size_px)
        self.ema_network = copy.deepcopy(self.network).requires_grad_(False).eval()
        """Network with the averaged weights, which are saved and used for sampling."""
        self._averaged = list(self.ema_network.parameters())
        self._parameters = list(self.network.parameters())
        self._residual_blocks = [module for module in self.network.modules() if isinstance(module, ResnetBlock2D)]
        self._draw_seed = derive_seed("draws", config.seed)

    def _inputs(self, positions: range) -> tuple[Tensor, Tensor]:
        """Return augmented images (B, C, H, W) in [-1, 1] and conditions (B, 36)."""
        config = self.config
        batch = self.inputs.take(positions)
        position_B = torch.arange(positions.start, positions.stop)
        draws = uniform(torch.full_like(position_B, self._draw_seed), position_B, 2 + 2 * NUM_LABELS).numpy()
        null_B, flip_B = draws[:, 0] < config.null_probability, draws[:, 1] < config.flip_probability
        # Requests are 0 or 1. Trained on p itself, the generator samples only cases of which the annotator is sure.
        value_BV, known_BK = draw_labels(batch.p_BV, batch.known_BK, batch.expert_BK, draws[:, 2 + NUM_LABELS :])
        value_BV[flip_B, _SIDE_HEAD] = 1.0 - value_BV[flip_B, _SIDE_HEAD]
        pixels_BHWC = np.where(flip_B[:, None, None, None], batch.images_BHWC[:, :, ::-1], batch.images_BHWC)
        x0_BCHW = scaled(pixels_BHWC, self.device)
        hidden_BK = draws[:, 2 : 2 + NUM_LABELS] < config.unknown_probability
        condition_BD = mask_conditions(value_BV, known_BK, hidden_BK, null_B)
        return x0_BCHW, torch.from_numpy(condition_BD).to(self.device)

    def loss(self, positions: range) -> Tensor:
        """Return the mean weighted squared error of the target (Ho et al. 2020, eq. 14, for eps).

        It is infinite, which stops the training, if it exceeds `MAX_LOSS_RATIO` times the loss of a constant output 0.
        """
        config = self.config
        x0_BCHW, condition_BD = self._inputs(positions)
        t_B = timesteps_at(stratified_uniform(config.seed, positions, config.batch_size), config, self.schedule).to(
            self.device
        )
        position_B = torch.arange(positions.start, positions.stop, device=self.device)
        eps_BCHW = normal(torch.full_like(position_B, self._draw_seed), position_B, self._shape_CHW)
        if config.unet.dropout > 0.0:
            torch.manual_seed(derive_seed("dropout", config.seed, positions.start))
        for block in self._residual_blocks:
            # This is the flag of the block itself, not of its dropout. If it is set, the block copies its input out of
            # channels_last, which costs a tenth of a step.
            block.training = False
        error_BCHW, target_BCHW = target_errors(
            self.forward_network, self.schedule, x0_BCHW, condition_BD, t_B, eps_BCHW
        )
        weight_B = loss_weight(t_B, self.schedule, config.min_snr_gamma)
        loss = _weighted_mean_square(error_BCHW, weight_B)
        loss_of_zero = _weighted_mean_square(target_BCHW, weight_B)
        # The all-reduce of the gradients spreads infinity, so that all workers stop at the same step.
        return loss * torch.where(loss.detach() > MAX_LOSS_RATIO * loss_of_zero, torch.inf, 1.0)

    def held_out_loss(self, step: int) -> HeldOutLoss | None:
        """Return the mean weighted error of the averaged weights on validation images; None if there are none.

        Images (evenly spaced), drawn labels, noise and timesteps are the same at each checkpoint, so only the weights
        change the curve. Images are not mirrored, and no known label is hidden.
        """
        num_images = self._images.num_images("validation")
        if num_images == 0:
            return None
        indices = np.arange(NUM_HELD_OUT) * num_images // NUM_HELD_OUT
        total = 0.0
        for first in range(0, NUM_HELD_OUT, _HELD_OUT_BATCH):
            total += float(self._held_out_errors(indices[first : first + _HELD_OUT_BATCH], first).sum())
        return HeldOutLoss(step=step, loss=total / NUM_HELD_OUT, num_images=min(num_images, NUM_HELD_OUT))

    @torch.no_grad()
    def _held_out_errors(self, indices: NDArray[np.int64], first: int) -> Tensor:
        """Return the weighted error, float64 (B,), of evaluations `first`, `first` + 1, ... on these images."""
        config, schedule = self.config, self.schedule
        batch = self._images.batch("validation", indices)
        condition_BD = torch.from_numpy(condition_vector(*self._fixed_labels(batch, "held-out", first)))
        x0_BCHW = scaled(batch.images_BHWC, self.device)
        row_B = torch.arange(first, first + len(batch), device=self.device)
        quantile_B = (0.5 + row_B.cpu().double() * _GOLDEN_RATIO) % 1.0
        t_B = timesteps_at(quantile_B, config, schedule).to(self.device)
        eps_BCHW = normal(torch.full_like(row_B, derive_seed("held-out", config.seed)), row_B, self._shape_CHW)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.resources.precision == "bf16"):
            error_BCHW, _ = target_errors(
                self.ema_network, schedule, x0_BCHW, condition_BD.to(self.device), t_B, eps_BCHW
            )
        weight_B = loss_weight(t_B, schedule, config.min_snr_gamma)
        return weight_B.double() * error_BCHW.double().square().mean(dim=(1, 2, 3))

    def memorisation(self, step: int) -> MemorisationPoint | None:
        """Return how near samples of the averaged weights come to training images; None without a search for copies.

        Noise and conditions, which are those of evenly spaced training images, are the same at each checkpoint. With
        canaries, as many samples again have the conditions of the canaries in turn.
        """
        if self.nearest is None:
            return None
        num_samples = self.config.memorisation_num_samples
        evenly = np.arange(num_samples, dtype=np.int64) * self._num_images // num_samples
        near = self.nearest.search(self._samples_like(evenly, "memorisation"))
        canary_near = None
        if self._canaries:
            first = [int(self._canaries[i % len(self._canaries)].indices[0]) for i in range(num_samples)]
            canary_near = self.nearest.search(self._samples_like(np.array(first), "canaries"))
        return memorisation_point(step, self.nearest.space, near, self._canaries, canary_near)

    def _samples_like(self, indices: NDArray[np.int64], purpose: str) -> NDArray[np.uint8]:
        """Return a sample (H, W, C) with the condition of each of these training images; noise by (seed, purpose)."""
        labels = self._fixed_labels(self._images.labels("train", indices), purpose)
        requests = [
            RowRequest(condition, derive_seed(purpose, self.config.seed, number), self.config.sheet_solver)
            for number, condition in enumerate(condition_vector(*labels))
        ]
        return self._sample(requests, _MEMORISATION_BATCH)

    def _sample(self, requests: Sequence[RowRequest], micro_batch: int) -> NDArray[np.uint8]:
        """Return samples (N, H, W, C) of the averaged weights."""
        dtype = torch.bfloat16 if self.config.resources.precision == "bf16" else torch.float32
        engine = Engine(self.ema_network, self.config.schedule, self._shape_CHW, device=self.device, dtype=dtype)
        return engine.run(requests, micro_batch)

    def after_step(self, step: int) -> None:
        """Update the averaged weights."""
        average = get_ema_multi_avg_fn(ema_decay_at(step, self.config.ema_decay))  # type: ignore[no-untyped-call]
        average(self._averaged, self._parameters, 0)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of `Learner.state` and the averaged weights."""
        averaged = {f"ema.{name}": value.detach().cpu().contiguous() for name, value in self._ema_tensors()}
        return super().state() | averaged

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        super().load_state(tensors)
        for name, value in self._ema_tensors():
            value.copy_(tensors[f"ema.{name}"])

    def _ema_tensors(self) -> Iterator[tuple[str, Tensor]]:
        return chain(self.ema_network.named_parameters(), self.ema_network.named_buffers())

    def _fixed_labels(self, batch: LabelBatch, purpose: str, first: int = 0) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Draw labels that are equal at each checkpoint: row b of `batch` by (seed, purpose, first + b)."""
        row_B = torch.arange(first, first + len(batch))
        seeds_B = torch.full_like(row_B, derive_seed(purpose, self.config.seed))
        uniform_BK = uniform(seeds_B, row_B, NUM_LABELS).numpy()
        return draw_labels(batch.p_BV, batch.known_BK, batch.expert_BK, uniform_BK)

    def sheet(self) -> NDArray[np.uint8]:
        """Sample two rows from the averaged weights, with the same seeds and conditions: right eyes, then left eyes.

        The conditions are those of evenly spaced training images, with labels drawn by (seed, column). If one is not a
        fundus, its side stays unknown.
        """
        num_columns = self.config.sheet_num_columns
        indices = np.arange(num_columns, dtype=np.int64) * self._num_images // num_columns
        batch = self._images.batch("train", indices)
        value_BV, known_BK = self._fixed_labels(batch, "sheet")
        no_fundus_B = known_BK[:, _FUNDUS_LABEL] & (value_BV[:, _FUNDUS_HEAD] == 0.0)
        known_BK[:, _SIDE_LABEL] = ~no_fundus_B
        requests = []
        for side in (0.0, 1.0):
            value_BV[:, _SIDE_HEAD] = side
            for column, condition in enumerate(condition_vector(value_BV, known_BK)):
                requests.append(RowRequest(condition, column, self.config.sheet_solver))
        samples = self._sample(requests, num_columns)
        return np.concatenate([np.concatenate(list(row), axis=1) for row in np.split(samples, 2)], axis=0)

    def save(
        self,
        storage: Storage,
        folder: str,
        losses: Sequence[StepMetrics],
        digest: str,
        origin: Origin = OTHER_SOURCES,
        images_digest: str | None = None,
    ) -> GeneratorManifest:
        """Write the averaged weights as a generator to `folder`.

        Args:
            losses: loss curve, stored in `metrics.json`.
            digest: digest of everything that the training depends on.
            origin: origin of the training images. Initial weights count as another source.
            images_digest: digest of the training images; None if it is unknown.
        """
        if self.config.init_from is not None:
            origin = origin.with_other_sources()
        num_parameters = sum(parameter.numel() for parameter in self.ema_network.parameters())
        metrics = GeneratorMetrics(
            num_parameters=num_parameters,
            losses=tuple(losses),
            held_out_losses=tuple(self.held_out_losses),
            memorisation=tuple(self.memorisation_points),
        )
        network, schedule = self.ema_network, self.config.schedule
        return save_generator(storage, folder, network, schedule, metrics, digest, origin, images_digest)
