"""The clean image that a network's output stands for, to judge an output by the image."""

from torch import Tensor

from synfundus.diffusion.schedule import Schedule


def clean_image(schedule: Schedule, x_t_BCHW: Tensor, output_BCHW: Tensor, t_B: Tensor) -> Tensor:
    """Return x_0, not clipped."""
    alpha, sigma = (level[t_B].to(x_t_BCHW.dtype).view(-1, 1, 1, 1) for level in (schedule.alpha_t, schedule.sigma_t))
    if schedule.config.prediction == "epsilon":
        return (x_t_BCHW - sigma * output_BCHW) / alpha
    return alpha * x_t_BCHW - sigma * output_BCHW
