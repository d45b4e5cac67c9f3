"""A saved generator: diffusers alone can use it, files are verified, the digest identifies it, nothing is pickled."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import GENERATOR
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diffusion.checkpoint import load_generator, save_generator
from synfundus.diffusion.config import GeneratorConfig, ScheduleConfig, SolverConfig
from synfundus.diffusion.engine import Engine, RowRequest, to_uint8
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.diffusion.metrics import GeneratorMetrics, read_generator_metrics
from synfundus.diffusion.noise import normal
from synfundus.diffusion.schedule import Schedule
from synfundus.diffusion.training import GeneratorLearner
from synfundus.digests import canonical_json
from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import HEAD_NAMES, LABEL_NAMES, encode_conditions, null_condition
from synfundus.resources import TrainingResources
from synfundus.storage import Storage, open_storage, read_manifest, write_manifest
from synfundus.training.metadata import StepMetrics

# diffusers passes tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FOLDER = "generators/tiny"
GUIDE = Path(__file__).parents[3] / "docs" / "generator.md"
CONFIG = GENERATOR.model_copy(update={"resources": TrainingResources(num_threads=1, precision="fp32")})
LOSSES = [StepMetrics(step=2, loss=0.5, gradient_norm=1.0, learning_rate=1e-3)]
FILES = {
    "manifest.json",
    "metrics.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> PreparedImages:
    storage = open_storage(str(tmp_path_factory.mktemp("data")))
    phantom_dataset(storage, "data/p", 20, 32)
    return PreparedImages(storage, "data/p")


def trained(images: PreparedImages, config: GeneratorConfig = CONFIG) -> GeneratorLearner:
    """Train for two steps and enlarge the averaged weights, so that condition and timestep show in the samples."""
    learner = GeneratorLearner(images, config, torch.device("cpu"))
    for step in range(2):
        learner.train_step(step)
    network: Any = learner.ema_network
    with torch.no_grad():
        network.conv_out.weight.normal_(0.0, 0.15, generator=torch.Generator().manual_seed(3))
        network.class_embedding.linear_2.weight.mul_(8.0)
    return learner


@pytest.fixture(scope="module")
def learner(images: PreparedImages) -> GeneratorLearner:
    return trained(images)


@pytest.fixture
def saved(storage: Storage, learner: GeneratorLearner) -> Storage:
    learner.save(storage, FOLDER, LOSSES, "of the run")
    return storage


def path_of(storage: Storage, name: str) -> Path:
    return Path(storage.uri(f"{FOLDER}/{name}"))


def requests_of(num_rows: int, solver: SolverConfig) -> list[RowRequest]:
    rows = [{"eye_side": i % 2, "dr_grade": i % 5, "is_fundus": 1} for i in range(num_rows)]
    return [RowRequest(condition, 100 + i, solver) for i, condition in enumerate(encode_conditions(rows))]


def with_diffusers_alone(folder: Path, rows: list[RowRequest]) -> Tensor:
    """Sample with diffusers alone, except for our noise, which makes the samples comparable."""
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    scheduler.set_timesteps(rows[0].solver.num_steps)
    x = normal(torch.tensor([row.seed for row in rows]), 0, (3, unet.config.sample_size, unet.config.sample_size))
    condition = torch.from_numpy(np.stack([row.condition for row in rows]))
    null = torch.from_numpy(null_condition()).expand_as(condition)
    for t in scheduler.timesteps:
        with torch.no_grad():
            conditional = unet(x, t, encoder_hidden_states=None, class_labels=condition).sample
            null_output = unet(x, t, encoder_hidden_states=None, class_labels=null).sample
        x = scheduler.step(null_output + rows[0].solver.guidance_scale * (conditional - null_output), t, x).prev_sample
    return x


SCHEDULES = {
    "cosine-v": {"kind": "cosine", "prediction": "v"},
    "linear-epsilon": {"kind": "linear", "prediction": "epsilon"},
    "shifted-v": {"kind": "shifted", "log_snr_shift": -1.4, "prediction": "v"},
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_diffusers_alone_loads_the_checkpoint_and_makes_the_engines_samples(
    storage: Storage, images: PreparedImages, schedule: dict[str, Any]
) -> None:
    learner = trained(images, CONFIG.model_copy(update={"schedule": ScheduleConfig.model_validate(schedule)}))
    learner.save(storage, FOLDER, LOSSES, "of the run")
    rows = requests_of(3, SolverConfig(name="ddim", num_steps=10, guidance_scale=2.0))
    generator = load_generator(storage, FOLDER)
    engine = Engine(generator.unet, generator.schedule, generator.image_shape)
    ours = engine.run(rows, 3).astype(int)
    theirs = to_uint8(with_diffusers_alone(Path(storage.uri(FOLDER)), rows)).numpy().astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - theirs).mean() < 0.01
    # The bound is not trivial: the images fill the range, and their conditions show.
    assert ours.std() > 25
    twin = RowRequest(rows[1].condition, rows[0].seed, rows[0].solver)
    assert np.abs(engine.run([twin], 3)[0].astype(int) - ours[0]).max() > 25


def python_of_the_guide() -> tuple[str, str]:
    """Return the examples of docs/generator.md: with this package, and with diffusers alone."""
    ours, theirs = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return ours, theirs


def test_the_guides_code_for_this_package_samples_an_image(saved: Storage) -> None:
    code = python_of_the_guide()[0].replace("ROOT", saved.root).replace("generators/NAME", FOLDER)
    names: dict[str, Any] = {}
    exec(compile(code, str(GUIDE), "exec"), names)
    assert names["image_HWC"].shape == (32, 32, 3)
    assert names["image_HWC"].std() > 25


@pytest.fixture
def snippet(saved: Storage) -> str:
    code = python_of_the_guide()[1]
    assert "synfundus" not in code
    return code.replace("ROOT/generators/NAME", saved.uri(FOLDER))


def test_the_guides_code_for_diffusers_alone_makes_the_engines_sample(
    saved: Storage, snippet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = 7
    monkeypatch.setattr(torch, "randn", lambda *shape: normal(torch.tensor([seed]), 0, shape[1:]))
    names: dict[str, Any] = {}
    exec(compile(snippet, str(GUIDE), "exec"), names)
    condition = encode_conditions([{"eye_side": 1, "is_fundus": 1}])[0]
    np.testing.assert_array_equal(names["condition_BD"], np.stack([condition, null_condition()]))
    generator = load_generator(saved, FOLDER)
    engine = Engine(generator.unet, generator.schedule, generator.image_shape)
    (expected,) = engine.run([RowRequest(condition, seed, SolverConfig(num_steps=20, guidance_scale=2.0))], 1)
    image_HWC = names["image_HWC"].numpy()
    assert image_HWC.shape == (32, 32, 3)
    assert np.abs(image_HWC.astype(int) - expected.astype(int)).max() <= 1
    assert image_HWC.std() > 25


def test_the_guides_table_is_the_layout_of_the_condition_vector() -> None:
    rows = re.findall(r"^\| (\d+)(?: to 3)? \| `(\w+)`.* \| (\d+) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    layout = {name: (int(index), int(flag)) for index, name, flag in rows}
    expected = {name: (HEAD_NAMES.index(name), 19 + k) for k, name in enumerate(LABEL_NAMES) if name != "dr_grade"}
    assert layout == {"dr_grade": (0, 19)} | expected


def test_the_averaged_weights_are_saved_and_loaded(saved: Storage, learner: GeneratorLearner) -> None:
    generator = load_generator(saved, FOLDER)
    loaded, averaged = generator.unet.state_dict(), learner.ema_network.state_dict()
    assert loaded.keys() == averaged.keys()
    assert all(torch.equal(loaded[name], averaged[name]) for name in averaged)
    assert not torch.equal(loaded["conv_in.weight"], learner.network.get_parameter("conv_in.weight"))
    assert not generator.unet.training
    assert not any(parameter.requires_grad for parameter in generator.unet.parameters())
    assert loaded["conv_in.weight"].is_contiguous(memory_format=torch.channels_last)
    assert generator.schedule == CONFIG.schedule
    assert generator.image_shape == (3, 32, 32)


def test_the_folder_holds_only_safetensors_and_json(saved: Storage, learner: GeneratorLearner) -> None:
    assert {name.removeprefix(f"{FOLDER}/") for name in saved.names(FOLDER)} == FILES
    for name in FILES:
        data = path_of(saved, name).read_bytes()
        if name.endswith(".json"):
            json.loads(data)
        else:
            tensors = safetensors.torch.load(data)
            assert {value.dtype for value in tensors.values()} == {torch.float32}
    num_parameters = sum(value.numel() for value in learner.ema_network.parameters())
    expected = GeneratorMetrics(num_parameters=num_parameters, losses=tuple(LOSSES))
    assert read_generator_metrics(saved, FOLDER) == expected
    assert read_manifest(saved, FOLDER, GeneratorManifest).digest == "of the run"


@pytest.mark.parametrize("file", sorted(FILES - {"manifest.json", "metrics.json"}))
def test_a_tampered_file_is_refused(saved: Storage, file: str) -> None:
    load_generator(saved, FOLDER)
    path = path_of(saved, file)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match=f"{FOLDER}/{file} differs from its manifest") as raised:
        load_generator(saved, FOLDER)
    assert "\n" not in str(raised.value)
    path.unlink()
    with pytest.raises(StorageError, match=f"cannot read {FOLDER}/{file}"):
        load_generator(saved, FOLDER)


def _with_manifest(storage: Storage, changes: Mapping[str, Any]) -> None:
    path = path_of(storage, "manifest.json")
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | changes))


def test_a_folder_of_another_kind_or_without_a_manifest_is_refused(saved: Storage) -> None:
    with pytest.raises(WrongInputError, match="generators/none is not complete"):
        load_generator(saved, "generators/none")
    write_manifest(saved, "annotators/a", [], AnnotatorManifest(digest="", data="data/p"))
    with pytest.raises(
        WrongInputError, match=r"^annotators/a/manifest\.json: .* holds 'annotator', expected 'generator'"
    ):
        load_generator(saved, "annotators/a")
    path_of(saved, "manifest.json").unlink()
    with pytest.raises(WrongInputError, match=f"{FOLDER} is not complete"):
        load_generator(saved, FOLDER)


def test_a_schedule_of_another_version_is_refused(saved: Storage) -> None:
    _with_manifest(saved, {"schedule": {"kind": "sigmoid"}})
    with pytest.raises(StorageError, match=r"manifest\.json .*schedule\.kind") as raised:
        load_generator(saved, FOLDER)
    assert "\n" not in str(raised.value)


@pytest.fixture
def other_roots(tmp_path: Path) -> Iterator[Storage]:
    """New roots, one after the other."""
    return (open_storage(str(tmp_path / f"root-{number}")) for number in range(100))


def test_the_digest_covers_only_weights_settings_and_schedule(
    other_roots: Iterator[Storage], learner: GeneratorLearner
) -> None:
    def digest(unet: torch.nn.Module, schedule: ScheduleConfig = CONFIG.schedule, folder: str = FOLDER) -> str:
        storage = next(other_roots)
        metrics = GeneratorMetrics(num_parameters=len(folder), losses=())
        manifest = save_generator(storage, folder, unet, schedule, metrics, folder)
        assert load_generator(storage, folder).digest == manifest.generator_digest
        return manifest.generator_digest

    unet: Any = learner.ema_network
    reference = learner.save(next(other_roots), FOLDER, LOSSES, "x").generator_digest
    assert digest(unet) == digest(unet, folder="generators/elsewhere") == reference
    assert digest(unet, ScheduleConfig(kind="linear")) != reference
    assert digest(unet, ScheduleConfig(prediction="epsilon")) != reference
    other = UNet2DConditionModel.from_config(dict(unet.config) | {"dropout": 0.1})
    other.load_state_dict(unet.state_dict())
    assert digest(other) != reference
    other = UNet2DConditionModel.from_config(unet.config)
    other.load_state_dict(unet.state_dict())
    assert digest(other) == reference
    with torch.no_grad():
        bias = other.conv_in.bias
        bias[0] = torch.nextafter(bias[0], bias[0] + 1.0)
    assert digest(other) != reference


def test_a_generator_is_written_once(saved: Storage, learner: GeneratorLearner, images: PreparedImages) -> None:
    again = learner.save(saved, FOLDER, LOSSES, "of the run")
    assert again.generator_digest == load_generator(saved, FOLDER).digest
    other = GeneratorLearner(images, CONFIG.model_copy(update={"seed": 1}), torch.device("cpu"))
    with pytest.raises(AlreadyExistsError, match="exists with other content"):
        other.save(saved, FOLDER, LOSSES, "of the run")
    assert load_generator(saved, FOLDER).digest == again.generator_digest


def test_the_saved_scheduler_has_the_levels_of_training(saved: Storage) -> None:
    scheduler = DDIMScheduler.from_pretrained(path_of(saved, "scheduler"))
    expected = Schedule(CONFIG.schedule).alphas_cumprod
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), expected, rtol=1e-3, atol=1e-7)
