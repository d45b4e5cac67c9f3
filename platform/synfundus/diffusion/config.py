"""Settings of `train-generator`, and of how samples are denoised."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from synfundus.config import Config
from synfundus.training.config import OptimisationConfig, moved_to_resources

ATTENTION_HEADS = 8
"""Heads of the middle. diffusers calls this number `attention_head_dim`; in `AttnDownBlock2D` it is what it says."""


class ScheduleConfig(Config):
    """The forward process and what the network predicts of it."""

    kind: Literal["linear", "cosine", "shifted"] = "cosine"
    """`linear` in beta (Ho et al. 2020), `cosine` in the signal level (Nichol and Dhariwal 2021), or `shifted`: cosine
    with `log_snr_shift` added to its log-SNR (Hoogeboom et al. 2023)."""
    log_snr_shift: float = Field(default=0.0, ge=-10.0, le=10.0)
    """What `shifted` adds to ln(alpha^2 / sigma^2), in nats; 2 ln(64 / size_px) noises coarse structure as at 64 px."""
    num_train_timesteps: int = Field(default=1000, ge=2, le=10_000)
    """Number of noise levels T."""
    prediction: Literal["epsilon", "v"] = "v"
    """What the network's output is: the noise, or v = alpha eps - sigma x_0 (Salimans and Ho 2022)."""

    @model_validator(mode="after")
    def _shift_belongs_to_shifted(self) -> "ScheduleConfig":
        if self.log_snr_shift != 0.0 and self.kind != "shifted":
            raise ValueError(f"log_snr_shift has no effect on kind {self.kind!r}; use kind 'shifted' or leave it out")
        return self


class UNetConfig(Config):
    """Shape of the U-Net; level 0 is the full resolution and each level halves it."""

    size_px: int = Field(ge=8, le=1024)
    """Height and width of the images."""
    channels: tuple[int, ...] = Field(min_length=1)
    """Channels of each level, from the full resolution down."""
    layers_per_block: int = Field(default=1, ge=1)
    """Residual layers of each level on the way down; one more on the way up."""
    attention_levels: tuple[int, ...] = ()
    """Levels with self-attention; the middle always has it."""
    norm_num_groups: int = Field(default=8, ge=1)
    """Groups of each group norm; each channel count is a multiple. Groups of 16 channels or more are faster on CPUs."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability of the residual layers."""

    @model_validator(mode="after")
    def _levels_fit(self) -> "UNetConfig":
        factor = 2 ** (len(self.channels) - 1)
        if self.size_px % factor:
            raise ValueError(
                f"size_px {self.size_px} does not halve {len(self.channels) - 1} times; make it a multiple of {factor}"
                " or give fewer channels"
            )
        for channels in self.channels:
            if channels < 1 or channels % self.norm_num_groups or channels % ATTENTION_HEADS:
                raise ValueError(
                    f"channels {channels} must be a multiple of norm_num_groups ({self.norm_num_groups})"
                    f" and of {ATTENTION_HEADS}"
                )
        for level in self.attention_levels:
            if not 0 <= level < len(self.channels):
                raise ValueError(f"attention_levels {level} is no level; the levels are 0 to {len(self.channels) - 1}")
        return self


class SolverConfig(Config):
    """How a sample is denoised; part of what a sample depends on."""

    name: Literal["ddpm", "ddim", "dpmpp-2m"] = "ddim"
    """`ddpm` (ancestral; Ho et al. 2020), `ddim` (Song et al. 2021), `dpmpp-2m` (DPM-Solver++(2M); Lu et al. 2022)."""
    num_steps: int = Field(default=25, ge=1)
    """Denoising steps, at most the schedule's num_train_timesteps."""
    eta: float = Field(default=0.0, ge=0.0, le=1.0)
    """Of `ddim` only: 0 is deterministic, 1 adds as much noise as `ddpm`."""
    guidance_scale: float = Field(default=2.0, ge=1.0, le=20.0)
    """Weight w of classifier-free guidance, output = null + w (conditional - null); 1 is no guidance."""
    guidance_interval: tuple[float, float] | None = None
    """Guide only where low < sigma_t / alpha_t <= high, images in [-1, 1] (Kynkäänniemi et al. 2024); null: always."""
    clip: bool = True
    """Clip the predicted clean image to [-1, 1] in each step."""

    @model_validator(mode="after")
    def _consistent(self) -> "SolverConfig":
        if self.eta != 0.0 and self.name != "ddim":
            raise ValueError(f"eta has no effect on solver {self.name!r}; use 'ddim' or leave it out")
        if self.guidance_interval is not None and not 0.0 <= self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError("guidance_interval must be [low, high] with 0 <= low < high, in units of sigma / alpha")
        return self


class GeneratorConfig(OptimisationConfig):
    """Training of the generator. All of these settings are part of the run's digest."""

    moved: ClassVar[dict[str, str]] = moved_to_resources("generator")

    unet: UNetConfig
    """Shape of the U-Net."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Noise levels, and what the network predicts."""
    null_probability: float = Field(default=0.1, ge=0.0, lt=1.0)
    """A sample's whole condition is replaced by the null condition of guidance (Ho and Salimans 2022, algorithm 1)."""
    unknown_probability: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Each known label is hidden from the network, so that "unknown" means any value; drawn per label and sample."""
    flip_probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """An image is mirrored left to right, which swaps the eye's side in its condition."""
    timestep_sampling: Literal["uniform", "log-normal"] = "uniform"
    """`log-normal` in the noise level sigma / alpha (Karras et al. 2022, table 1, "Training")."""
    log_normal_mean: float = -1.2
    """P_mean: mean of ln(sigma / alpha), images in [-1, 1]."""
    log_normal_std: float = Field(default=1.2, gt=0.0)
    """P_std: standard deviation of ln(sigma / alpha)."""
    min_snr_gamma: float | None = Field(default=None, gt=0.0)
    """Weight of a sample's clean-image error is min(SNR, gamma) (Hang et al. 2023); null: the target's own error."""
    ema_decay: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay a step of the averaged weights, which are what is saved; min(ema_decay, (1 + step) / (10 + step))."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    init_from: str | None = None
    """Weights to start from: a directory in diffusers' layout or a .safetensors file; null: random."""
    sheet_num_columns: int = Field(default=8, ge=1)
    """Samples a row of the training's sample sheet; the rows are the right and the left eye."""
    sheet_solver: SolverConfig = SolverConfig(name="ddim", num_steps=12, guidance_scale=2.0)
    """How the sample sheet is denoised."""

    @model_validator(mode="after")
    def _sheet_fits(self) -> "GeneratorConfig":
        if self.sheet_solver.num_steps > self.schedule.num_train_timesteps:
            raise ValueError(
                f"sheet_solver: num_steps {self.sheet_solver.num_steps} is more than the schedule's"
                f" num_train_timesteps {self.schedule.num_train_timesteps}; lower it"
            )
        return self
