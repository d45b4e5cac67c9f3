"""A study file: recipes, overrides, paths, digests, and one-line messages with file, key and remedy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from synfundus.config import Config
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.study import FILE_KEYS, Study, load_study, read_recipe, recipe_names, resolve, show
from synfundus.study.tree import Override

MINIMAL = """\
name: clinic
root: outputs
data:
  sources: [{layout: folder, path: photographs}]
release: {date_published: 2026-11-27, data_statement: Nobody's photographs.}
"""


def study(text: str = "", *overrides: str, folder: Path = Path("/studies"), recipe: str = "real-64") -> Study:
    return resolve(f"recipe: {recipe}\n{MINIMAL}{text}", "clinic.yaml", folder, overrides)


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(WrongInputError) as caught:
        resolve(text, "clinic.yaml", Path("/studies"), overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_three_recipes_ship_with_the_package() -> None:
    assert recipe_names() == ["phantom-cpu", "real-64", "small-128"]


@pytest.mark.parametrize("recipe", ["phantom-cpu", "real-64", "small-128"])
def test_every_recipe_makes_a_valid_study(recipe: str) -> None:
    made = study(recipe=recipe)
    assert made.recipe == recipe
    assert made.generator.unet.size_px == made.data.prepare.size_px
    assert f"-{made.data.prepare.size_px}" in f"{recipe}-32"


@pytest.mark.parametrize("recipe", recipe_names())
def test_recipes_space_the_steps_evenly_in_log_snr_which_keeps_fine_detail(recipe: str) -> None:
    """docs/sampling.md has the measurements."""
    assert study(recipe=recipe).samples.solver.spacing == "log-snr"


def test_a_study_of_phantoms_needs_only_recipe_name_and_root() -> None:
    demo = resolve("recipe: phantom-cpu\nname: demo\nroot: here\n", "demo", Path("/tmp"))
    assert demo.data.sources[0].layout == "phantom"


def test_a_file_states_only_what_differs_from_its_recipe() -> None:
    recipe = yaml.safe_load(read_recipe("real-64"))
    made = study("generator: {num_steps: 7}\n")
    assert made.generator.num_steps == 7
    assert made.generator.batch_size == recipe["generator"]["batch_size"]


def test_overrides_come_last_and_are_read_as_yaml() -> None:
    made = study(
        "generator: {num_steps: 7}\n",
        "generator.num_steps=9",
        "generator.unet.channels=[8, 16]",
        "evaluation.inception_weights=null",
        "data.sources.0.csv=other.csv",
        "samples.solver={num_steps: 5}",
        "generator.num_steps=10",
    )
    assert made.generator.num_steps == 10
    assert made.generator.unet.channels == (8, 16)
    assert made.data.sources[0].model_dump()["csv"] == "other.csv"
    assert (made.samples.solver.num_steps, made.samples.solver.guidance_scale) == (5, 2.0)


def test_an_override_reaches_into_a_list_of_the_recipe() -> None:
    demo = resolve(
        "recipe: phantom-cpu\nname: demo\nroot: here\n", "demo", Path("/tmp"), ["data.sources.0.num_images=9"]
    )
    assert demo.data.sources[0].model_dump()["num_images"] == 9


def test_the_recipe_itself_can_be_overridden() -> None:
    assert study("", "recipe=small-128").data.prepare.size_px == 128


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generator.num_steps", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("a..b=3", "expected KEY=VALUE"),
        ("generator.num_steps=[1", "the value is not valid YAML"),
        ("data.sources.1.path=x", "the list has no item '1'; its indices are 0 to 0"),
        ("data.sources.first.path=x", "the list has no item 'first'"),
        ("generator.num_step=3", "did you mean 'num_steps'?"),
        ("generator.num_steps=many", "generator.num_steps: "),
    ],
)
def test_a_wrong_override_is_refused_in_one_line(override: str, message: str) -> None:
    assert message in refused(f"recipe: real-64\n{MINIMAL}", override)


def test_the_value_of_an_override_may_hold_an_equals_sign() -> None:
    override = Override.parse("release.title=a=b")
    assert (override.path, override.value) == (("release", "title"), "a=b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL.replace("name:", "nmae:"), "unknown key 'nmae'; did you mean 'name'?"),
        (MINIMAL + "generator: {num_step: 3}\n", "generator: unknown key 'num_step'; did you mean 'num_steps'?"),
        (MINIMAL + "generator: {unet: {chanels: [8]}}\n", "generator.unet: unknown key 'chanels'; did you mean"),
        (MINIMAL.replace("path:", "pth:"), "data.sources.0: unknown key 'pth'; did you mean 'path'?"),
        (
            MINIMAL.replace("data_statement: Nobody's photographs.", "title: Eyes"),
            "data_statement: this",
        ),
        (MINIMAL.replace("name: clinic\n", ""), "name: this key is required"),
        (MINIMAL.replace("name: clinic", "name: My Clinic"), "(given: 'My Clinic')"),
        (MINIMAL.replace("layout: folder", "layout: foldr"), "data.sources.0: "),
        (MINIMAL + "generator: {num_steps: .nan}\n", "generator.num_steps: "),
        (MINIMAL + "version: 2\n", "version 2 is newer than this program reads (1); upgrade synfundus"),
        (MINIMAL + "generator: [\n", "line 8: not valid YAML"),
        (MINIMAL + "generator: {}\ngenerator: {}\n", "line 8: not valid YAML (key 'generator' twice)"),
        (MINIMAL + "generator: {seed: 2020-99-99}\n", "not valid YAML (month must be in 1..12)"),
        (MINIMAL + "generator: {seed: " + "9" * 5000 + "}\n", "not valid YAML (Exceeds the limit"),
        (MINIMAL + "generator: " + "[" * 1000, "not valid YAML (maximum recursion depth exceeded"),
        (
            MINIMAL.replace("root: outputs", "root: ~nobody-of-this-name/x"),
            "root: ~nobody-of-this-name/x names no user",
        ),
        (
            MINIMAL.replace("photographs}", "~nobody-of-this-name}"),
            "data.sources.0.path: ~nobody-of-this-name names no",
        ),
        (MINIMAL.replace("root: outputs", 'root: "a\\0b"'), "root: 'a\\x00b' holds a null character"),
        (MINIMAL.replace("root: outputs", "root: ''"), "clinic.yaml: root: is empty; name a file or folder"),
        ("just words", "expected settings (key: value lines), found str"),
        ("", "expected settings (key: value lines), found NoneType"),
        (MINIMAL + "samples: {shard_rows: 10}\n", "samples: shard_rows 10 is not a multiple of micro_batch 16"),
    ],
)
def test_a_mistake_in_the_file_is_refused_in_one_line_with_file_and_key(text: str, message: str) -> None:
    found = refused(f"recipe: real-64\n{text}" if text and text[0] != "j" else text)
    assert found.startswith("clinic.yaml")
    assert message in found


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    assert "did you mean 'real-64'?" in refused(f"recipe: real64\n{MINIMAL}")


def test_a_file_that_cannot_be_read_is_refused_with_the_command_that_writes_one(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for name, reason in (("none.yaml", "No such file"), ("", "Is a directory"), ("latin.yaml", "not UTF-8")):
        with pytest.raises(WrongInputError, match=f"{reason}.*synfundus study init"):
            load_study(tmp_path / name)


def test_relative_paths_are_relative_to_the_study_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    text = """\
evaluation: {inception_weights: weights.pth}
annotator: {init_from: ../start.safetensors}
generator: {init_from: /abs/start.safetensors}
external_annotator: {predictions: p.csv, images_folder: photographs, columns: {is_gc: gc}}
"""
    made = study(text)
    assert made.root == "/studies/outputs"
    assert made.data.sources[0].model_dump()["path"] == "/studies/photographs"
    assert made.evaluation.inception_weights == "/studies/weights.pth"
    assert made.annotator.init_from == "/start.safetensors"
    assert made.generator.init_from == "/abs/start.safetensors"
    assert made.external_annotator is not None
    assert (made.external_annotator.predictions, made.external_annotator.images_folder) == (
        "/studies/p.csv",
        "/studies/photographs",
    )
    assert study("", "root=file:///elsewhere").root == "file:///elsewhere"


def test_the_real_data_variable_is_replaced_and_refused_if_it_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"recipe: real-64\n{MINIMAL}".replace("path: photographs", "path: '${SYNFUNDUS_REAL_DATA}/part'")
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "/photographs")
    made = resolve(text, "clinic.yaml", Path("/studies"))
    assert made.data.sources[0].model_dump()["path"] == "/photographs/part"
    monkeypatch.delenv("SYNFUNDUS_REAL_DATA")
    assert "data.sources.0.path uses ${SYNFUNDUS_REAL_DATA}, which is not set; export" in refused(text)


def test_a_source_may_lie_on_s3_and_other_files_may_not() -> None:
    text = "recipe: phantom-cpu\nname: t\nroot: r\ndata: {sources: [{layout: folder, path: 's3://b/x'}]}\n"
    study = resolve(text, "s.yaml", Path("/studies"))
    assert study.data.sources[0].model_dump()["path"] == "s3://b/x"
    for keys in FILE_KEYS:
        place = ".".join(keys).replace("*", "resnet10t")
        with pytest.raises(WrongInputError) as caught:
            resolve(text, "s.yaml", Path("/studies"), [f"{place}=s3://b/weights"])
        message = f"s.yaml: {place}: s3://b/weights is not on this machine; copy it here and name the copy"
        assert str(caught.value) == message


@pytest.mark.parametrize("recipe", ["phantom-cpu", "real-64", "small-128"])
def test_the_shown_study_loads_as_the_same_study(recipe: str, tmp_path: Path) -> None:
    made = study("", "root=/r", "release.title=Über", "release.date_published=2026-11-25", recipe=recipe)
    (tmp_path / "shown.yaml").write_text(show(made), encoding="utf-8")
    again = load_study(tmp_path / "shown.yaml")
    assert again == made
    assert show(again) == show(made)


@pytest.mark.parametrize("name", ["demo", "demo-small", "fundus-real", "fundus-shareable"])
def test_committed_studies_write_below_outputs_of_the_checkout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "/photographs")
    repository = Path(__file__).parents[2]
    made = load_study(repository / "studies" / f"{name}.yaml")
    assert made.name == name
    assert made.root == str(repository / "outputs" / name)


@pytest.mark.parametrize(
    ("section", "key", "value", "place"),
    [
        ("annotator", "num_workers", 2, "annotator.resources.num_workers"),
        ("annotator", "precision", "fp32", "annotator.resources.precision"),
        ("generator", "num_threads", 2, "generator.resources.num_threads"),
        ("generator", "use_gpu", "true", "generator.resources.num_gpus"),
        ("samples", "pool_size", 2, "samples.resources.pool_size"),
        ("samples", "num_threads", 2, "samples.resources.num_threads"),
        ("samples", "precision", "fp32", "samples.resources.precision"),
        ("samples", "use_gpu", "true", "samples.resources.num_gpus"),
    ],
)
def test_a_key_that_moved_is_refused_with_its_new_place(section: str, key: str, value: object, place: str) -> None:
    message = refused(f"recipe: real-64\n{MINIMAL}{section}: {{{key}: {value}}}\n")
    assert message == f"clinic.yaml: {section}: {key} moved to {place}"


def test_each_stage_and_the_endpoints_have_resources_of_their_own() -> None:
    made = study("", "samples.resources.num_threads=7", "samples.resources.num_gpus=1")
    others = (made.data.prepare, made.annotator, made.fill, made.generator, made.evaluation)
    assert all(section.resources.num_threads != 7 for section in others)
    assert all(section.resources.num_gpus == 0 for section in others)
    assert (made.serving.generation.num_threads, made.serving.generation.num_gpus) == (1, 0)
    assert (made.serving.diagnosis.num_threads, made.serving.diagnosis.num_gpus) == (1, 0)
    assert made.serving.generation.precision == made.samples.resources.precision == "bf16"


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def test_no_path_no_pool_size_and_no_gpu_of_a_pool_enters_a_digest() -> None:
    text = "evaluation: {inception_weights: w.pth}\ngenerator: {init_from: g.safetensors}\n"
    text += "transfer: {architectures: [a], arms: {x: {start: weights, weights: {a: w.pth}}}}\n"
    here = study(text)
    changes = [
        "root=/other",
        "data.prepare.resources={pool_size: 7, num_threads: 7}",
        "fill.resources={pool_size: 7, num_gpus: 0.5}",
        "samples.resources={pool_size: 7, num_gpus: 0.5}",
        "transfer.resources={pool_size: 7, num_gpus: 0.5}",
        "evaluation.resources.num_gpus=1",
        "evaluation.resources.num_threads=2",
        "serving.generation={num_gpus: 0.5, num_threads: 7, precision: fp32}",
    ]
    assert study(text, *changes, folder=Path("/elsewhere")).public == here.public
    assert not [string for string in _strings(here.public) if "/studies" in string]


@pytest.mark.parametrize(
    "change",
    [
        "samples.seed=1",
        "annotator.resources.num_workers=2",
        "generator.resources.num_gpus=1",
        "fill.resources.num_threads=2",
        "samples.resources.num_threads=2",
        "samples.resources.precision=fp32",
    ],
)
def test_settings_that_change_a_result_enter_a_digest(change: str) -> None:
    assert digest_of(study("", change).public) != digest_of(study().public)


def test_a_report_shows_no_name_of_a_file_a_folder_or_a_column() -> None:
    """Hospitals put names of people and wards into them, and the public edition of the report shows the study."""
    source = "{layout: folder, path: Ward 3, csv: Liste Dr Meier.csv, images: Bilder Mueller, image_column: datei}"
    sources = f"[{source}, {{layout: synfundus-1m, path: p, csv: Schmidt.csv}}, {{layout: phantom, num_images: 7}}]"
    text = "generator: {init_from: Weber.safetensors}\nevaluation: {inception_weights: Huber.pth}\n"
    text += "transfer: {architectures: [a], arms: {x: {start: weights, weights: {a: Lang.pth}}}}\n"
    shown: dict[str, Any] = study(text, f"data.sources={sources}").shown
    words = " ".join(_strings(shown))
    for name in ("Ward", "Meier", "Mueller", "datei", "Schmidt", "Weber", "Huber", "Lang"):
        assert name not in words
    assert [found["layout"] for found in shown["data"]["sources"]] == ["folder", "synfundus-1m", "phantom"]
    assert shown["data"]["sources"][2]["num_images"] == 7
    assert "release" not in shown


def test_a_file_enters_a_digest_by_its_content(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.safetensors").write_bytes(b"2" if folder == "c" else b"1")
    found = [study("", f"generator.init_from={tmp_path}/{f}/{f}.safetensors").files_of("generator") for f in "abc"]
    assert found[0] == found[1] != found[2]
    assert list(found[0]) == ["init_from"]
    with pytest.raises(WrongInputError, match=r"generator\.init_from: cannot read .*correct the path"):
        study("", f"generator.init_from={tmp_path}/none").files_of("generator")
    folders = [study("", f"annotator.init_from={tmp_path}/{f}").files_of("annotator") for f in "ab"]
    assert folders[0] != folders[1], "the names of a folder's files are part of its content"


def _models_in(annotation: object) -> Iterator[type[Config]]:
    """Yield each settings class that an annotation names, with those of its own fields."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation)
    for argument in get_args(annotation):
        yield from _models_in(argument)


def test_every_setting_of_a_study_is_explained() -> None:
    """`study show` prints every key, so a reader must be able to look it up."""
    undocumented = {
        f"{model.__name__}.{name}"
        for model in _models_in(Study)
        for name, field in model.model_fields.items()
        if not field.description
    }
    assert not undocumented
