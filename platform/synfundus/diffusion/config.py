"""Settings of the generator: U-Net, noise schedule, training and solver."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from synfundus.config import Config
from synfundus.training.config import OptimisationConfig, moved_to_resources

ATTENTION_HEADS = 8
"""Attention heads of the middle block, and channels per head in the levels, where `UNetConfig.attention_head_dim` is
null."""

Spacing = Literal["trailing", "log-snr", "karras"]
"""Name of a rule that places a solver's steps on the schedule; docs/sampling.md defines the three."""


class ScheduleConfig(Config):
    """Noise schedule, and the target of the network."""

    kind: Literal["linear", "cosine", "shifted"] = "cosine"
    """Shape of the schedule: `linear` in beta (Ho et al. 2020), `cosine` in the signal level (Nichol and Dhariwal
    2021), or `shifted`, which is cosine with `log_snr_shift` added to its log-SNR (Hoogeboom et al. 2023)."""
    log_snr_shift: float = Field(default=0.0, ge=-10.0, le=10.0)
    """Number that `shifted` adds to the log-SNR ln(alpha^2 / sigma^2), in nats; 2 ln(64 / size_px) gives coarse
    structure as much noise as at 64 px. Refused with the other kinds."""
    num_train_timesteps: int = Field(default=1000, ge=2, le=10_000)
    """Number of noise levels T."""
    prediction: Literal["epsilon", "v"] = "v"
    """Target of the network: the noise epsilon, or v = alpha eps - sigma x_0 (Salimans and Ho 2022)."""

    @model_validator(mode="after")
    def _shift_belongs_to_shifted(self) -> "ScheduleConfig":
        if self.log_snr_shift != 0.0 and self.kind != "shifted":
            raise ValueError(f"log_snr_shift: has no effect on kind {self.kind!r}; use kind 'shifted' or leave it out")
        return self


class UNetConfig(Config):
    """Shape of the U-Net. Level 0 has the full resolution; each further level halves it."""

    size_px: int = Field(ge=8, le=1024)
    """Height and width of the images."""
    channels: tuple[int, ...] = Field(min_length=1)
    """Channels of each level, from the full resolution down."""
    layers_per_block: int = Field(default=1, ge=1)
    """Residual layers of each level on the way down; on the way up it is one more."""
    attention_levels: tuple[int, ...] = ()
    """Levels with self-attention; the middle block always has it."""
    attention_head_dim: int | None = Field(default=None, ge=1)
    """Channels per attention head, in the levels and in the middle. The middle is then a self-attention between two
    residual layers (Dhariwal and Nichol 2021, section 3.1; they choose 64). Null: heads of 8 channels in the levels,
    and a transformer block with 8 heads in the middle."""
    norm_num_groups: int = Field(default=8, ge=1)
    """Groups of each group norm; every channel count must be a multiple. Groups of 16 channels or more are faster on
    CPUs."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability of the residual layers."""

    @model_validator(mode="after")
    def _levels_fit(self) -> "UNetConfig":
        factor = 2 ** (len(self.channels) - 1)
        if self.size_px % factor:
            raise ValueError(
                f"size_px: {self.size_px} does not halve {len(self.channels) - 1} times; make it a multiple of {factor}"
                " or give fewer channels"
            )
        for channels in self.channels:
            if channels < 1 or channels % self.norm_num_groups or channels % ATTENTION_HEADS:
                raise ValueError(
                    f"channels: {channels} must be a multiple of norm_num_groups ({self.norm_num_groups})"
                    f" and of {ATTENTION_HEADS}"
                )
        for level in self.attention_levels:
            if not 0 <= level < len(self.channels):
                raise ValueError(
                    f"attention_levels: {level} is not a level; the levels are 0 to {len(self.channels) - 1}"
                )
        return self

    @model_validator(mode="after")
    def _heads_fit(self) -> "UNetConfig":
        for level in (*self.attention_levels, len(self.channels) - 1):
            if self.attention_head_dim is not None and self.channels[level] % self.attention_head_dim:
                raise ValueError(
                    f"attention_head_dim: the {self.channels[level]} channels of level {level} are not a multiple of"
                    f" {self.attention_head_dim}; give a divisor"
                )
        return self


class SolverConfig(Config):
    """Solver of the denoising. A sample depends on all of these settings."""

    name: Literal["ddpm", "ddim", "dpmpp-2m"] = "ddim"
    """Solver: `ddpm` (ancestral; Ho et al. 2020), `ddim` (Song et al. 2021) or `dpmpp-2m` (DPM-Solver++(2M); Lu et al.
    2022)."""
    num_steps: int = Field(default=25, ge=1)
    """Denoising steps; at most the schedule's `num_train_timesteps`."""
    spacing: Spacing = "trailing"
    """Noise levels of the steps. `trailing` is even in the timestep (Lin et al. 2024). `log-snr` is even in the log-SNR
    (Lu et al. 2022). `karras` is even in (sigma / alpha)^(1/7) (Karras et al. 2022, eq. 5). All start at T-1."""
    eta: float = Field(default=0.0, ge=0.0, le=1.0)
    """Noise added at each `ddim` step: 0 is deterministic, 1 matches `ddpm`. Refused with the other solvers."""
    guidance_scale: float = Field(default=2.0, ge=1.0, le=20.0)
    """Weight w of classifier-free guidance, output = null + w (conditional - null); 1 means no guidance."""
    guidance_interval: tuple[float, float] | None = None
    """Noise levels [low, high] at which steps are guided: low < sigma_t / alpha_t <= high for images in [-1, 1]
    (Kynkäänniemi et al. 2024); null guides every step."""
    clip: bool = True
    """Clip the predicted clean image to [-1, 1] in each step."""

    @model_validator(mode="after")
    def _consistent(self) -> "SolverConfig":
        if self.eta != 0.0 and self.name != "ddim":
            raise ValueError(f"eta: has no effect on solver {self.name!r}; use 'ddim' or leave it out")
        if self.guidance_interval is not None and not 0.0 <= self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError("guidance_interval: must be [low, high] with 0 <= low < high, in units of sigma / alpha")
        return self


class CanariesConfig(Config):
    """Patients that the training repeats on purpose, to see from which number of repeats on it reproduces a patient.

    For an audit only: the privacy gate refuses a release of a generator that had canaries.
    """

    num_patients: int = Field(default=3, ge=1)
    """Patients for each number of repeats, chosen at random by the seed."""
    repeats: tuple[int, ...] = Field(default=(1, 10, 100), min_length=1)
    """Times that the photographs of these patients count in an epoch; 1 is once, as for every patient."""

    @model_validator(mode="after")
    def _positive(self) -> "CanariesConfig":
        if min(self.repeats) < 1 or len(set(self.repeats)) < len(self.repeats):
            raise ValueError(f"repeats: {list(self.repeats)} must be different whole numbers from 1 on")
        return self


class GeneratorConfig(OptimisationConfig):
    """Training of the generator. All of these settings are part of the run's digest."""

    moved: ClassVar[dict[str, str]] = moved_to_resources("generator")

    unet: UNetConfig
    """Shape of the U-Net."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Noise schedule, and the target of the network."""
    null_probability: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Probability that the null condition of guidance replaces an image's whole condition (Ho and Salimans 2022,
    algorithm 1)."""
    unknown_probability: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Probability that a known label is hidden from the network, so that it learns "unknown" as any value; drawn for
    each label of each image."""
    flip_probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that an image is mirrored left to right, which swaps the eye's side in its condition."""
    timestep_sampling: Literal["uniform", "log-normal"] = "uniform"
    """Distribution of the timesteps: `uniform`, or `log-normal` in the noise level sigma / alpha (Karras et al. 2022,
    table 1, "Training")."""
    log_normal_mean: float = -1.2
    """Mean of ln(sigma / alpha) for images in [-1, 1]; P_mean of Karras et al."""
    log_normal_std: float = Field(default=1.2, gt=0.0)
    """Standard deviation of ln(sigma / alpha); P_std of Karras et al."""
    min_snr_gamma: float | None = Field(default=None, gt=0.0)
    """Upper limit of the SNR in the weight min(SNR, gamma) of the clean-image error (Hang et al. 2023); null weighs the
    error of the target equally at all timesteps."""
    ema_decay: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Largest decay per step of the averaged weights, which are the saved ones: min(ema_decay, (1 + step) / (10 +
    step))."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: needs less memory and is about a third slower."""
    init_from: str | None = None
    """Initial weights: a folder in diffusers' layout or a .safetensors file; null means random weights."""
    sheet_num_columns: int = Field(default=8, ge=1)
    """Samples in each of the two rows of the sample sheet: right eyes above, left eyes below."""
    sheet_solver: SolverConfig = SolverConfig(name="ddim", num_steps=12, guidance_scale=2.0)
    """Solver of the sample sheet, and of the samples for the memorisation curve."""
    memorisation_num_samples: int = Field(default=32, ge=1)
    """Samples at each checkpoint whose distance ratio to the training images is recorded."""
    canaries: CanariesConfig | None = None
    """Patients that the training repeats on purpose, for an audit; null: none."""

    @model_validator(mode="after")
    def _sheet_fits(self) -> "GeneratorConfig":
        if self.sheet_solver.num_steps > self.schedule.num_train_timesteps:
            raise ValueError(
                f"sheet_solver.num_steps: {self.sheet_solver.num_steps} is more than the schedule's"
                f" num_train_timesteps {self.schedule.num_train_timesteps}; lower it"
            )
        return self
