"""The generator: U-Net, noise schedule, noise, solvers, the one denoising loop, and training."""
