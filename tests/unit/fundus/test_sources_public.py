"""Public layouts on small fixtures with the real file names and columns; their origin is in docs/sources.md."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from synfundus.errors import WrongInputError
from synfundus.fundus.sources import SourceConfig, SourceListing, list_source
from synfundus.labels import LABEL_NAMES
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)


def listing(layout: str, path: Path, **settings: Any) -> SourceListing:
    return list_source(ADAPTER.validate_python({"layout": layout, "path": str(path), **settings}))


def known(labels: Any) -> dict[str, int]:
    assert tuple(labels) == LABEL_NAMES
    return {name: value for name, value in labels.items() if value is not None}


def by_name(result: SourceListing) -> dict[str, dict[str, int]]:
    return {record.name: known(record.labels) for record in result.records}


def put(root: Path, *names: str) -> None:
    """Write images of different bytes."""
    for shade, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.lower().endswith("png") else "JPEG"
        Image.new("RGB", (8, 6), (shade, 40, 10)).save(file, kind)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode())


# SynFundus-1M


def test_synfundus_1m_reads_labels_by_name_and_either_suffix(tmp_path: Path) -> None:
    header = ",".join(("file_name", *LABEL_NAMES, "is_md", "Lesions"))
    write(
        tmp_path,
        "annotation.csv",
        f"{header}\n0000001.png,4,1,0,0,0,0,1,0,0,0,0,0,1,1,1,0,9,x\n0000002.png,0,0,0,0,0,0,0,0,0,0,0,0,0,1,1,1,9,x\n",
    )
    put(tmp_path, "Fundus/0000001.jpg", "Fundus/0000002.png")
    result = listing("synfundus-1m", tmp_path, csv="annotation.csv")
    first = dict(zip(LABEL_NAMES, (4, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0), strict=True))
    assert by_name(result) == {
        "Fundus/0000001.jpg": first,
        # The image is not a fundus, so the zeros of its diseases are ignored.
        "Fundus/0000002.png": dict.fromkeys(LABEL_NAMES[12:], 0),
    }
    assert not result.has_patients


def test_synfundus_1m_tolerates_missing_label_columns_but_not_all(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "file_name,is_fundus,is_macular_readable\n1.png,1,0\n")
    write(tmp_path, "b.csv", "file_name,Lesions\n1.png,x\n")
    write(tmp_path, "gen_cond.csv", "idx,dr_grade\n1,0\n")
    put(tmp_path, "1.png")
    result = listing("synfundus-1m", tmp_path, csv="a.csv")
    assert by_name(result) == {"1.png": {"is_fundus": 1, "is_macular_readable": 0}}
    with pytest.raises(WrongInputError, match=r"b\.csv: no label column"):
        listing("synfundus-1m", tmp_path, csv="b.csv")
    with pytest.raises(WrongInputError, match=r"gen_cond\.csv: no column 'file_name'"):
        listing("synfundus-1m", tmp_path, csv="gen_cond.csv")


# RetinaMNIST


def npz(path: Path, size: int = 28, compressed: bool = True, **changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count)[:, None] % 5).astype(np.uint8)
    arrays |= changed
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return arrays


@pytest.mark.parametrize(
    ("name", "size", "compressed"),
    [("retinamnist.npz", 28, True), ("retinamnist_64.npz", 64, False), ("retinamnist_224.npz", 224, True)],
)
def test_retinamnist_images_are_read_without_loss(tmp_path: Path, name: str, size: int, compressed: bool) -> None:
    arrays = npz(tmp_path / name, size, compressed)
    result = listing("retinamnist", tmp_path / name)
    assert [r.labels["dr_grade"] for r in result.records] == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2]
    assert known(result.records[1].labels) == {"dr_grade": 1, "is_fundus": 1}
    assert {r.split for r in result.records} == {None}
    record = pickle.loads(pickle.dumps(result.records[6]))
    assert record.name == f"{name}/val/0001"
    with Image.open(io.BytesIO(record.load())) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), arrays["val_images"][1])


def test_retinamnist_keeps_its_splits_on_request(tmp_path: Path) -> None:
    npz(tmp_path / "retinamnist.npz")
    result = listing("retinamnist", tmp_path / "retinamnist.npz", keep_splits=True)
    assert [r.split for r in result.records] == ["train"] * 5 + ["validation"] * 2 + ["test"] * 3


def test_a_wrong_retinamnist_file_is_named_with_its_fault(tmp_path: Path) -> None:
    file = tmp_path / "retinamnist.npz"
    with pytest.raises(WrongInputError, match="no such file"):
        listing("retinamnist", file)
    file.write_bytes(b"PK not really")
    with pytest.raises(WrongInputError, match=r"not an \.npz file"):
        listing("retinamnist", file)
    npz(file, val_labels=np.array([[0], [5]], np.uint8))
    with pytest.raises(WrongInputError, match=r"val_labels\[1\]: dr_grade is '5'"):
        listing("retinamnist", file)
    npz(file, test_images=np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(WrongInputError, match=r"test_images is uint8 \(3, 28, 28\) with 3 labels; expected"):
        listing("retinamnist", file)
    np.savez(file, train_images=np.zeros(1))
    with pytest.raises(
        WrongInputError, match="no array 'train_labels', only train_images; name the file of RetinaMNIST"
    ):
        listing("retinamnist", file)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(WrongInputError, match="truncated"):
        listing("retinamnist", file)


# DR grading sets


def test_aptos2019_grades_are_read(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", "id_code,diagnosis\n000c1434d8d7,2\n001639a390f0,4\n0024cdab0c1e,\n")
    put(tmp_path, *(f"train_images/{n}.png" for n in ("000c1434d8d7", "001639a390f0", "0024cdab0c1e")))
    put(tmp_path, "test_images/0005cfc8afb6.png")
    result = listing("aptos2019", tmp_path)
    assert by_name(result) == {
        "train_images/000c1434d8d7.png": {"dr_grade": 2, "is_fundus": 1},
        "train_images/001639a390f0.png": {"dr_grade": 4, "is_fundus": 1},
        "train_images/0024cdab0c1e.png": {},
    }
    assert not result.has_patients
    write(tmp_path, "train.csv", "id_code,diagnosis\n000c1434d8d7,5\n")
    with pytest.raises(WrongInputError, match=r"train\.csv row 2, column 'diagnosis': dr_grade is '5'"):
        listing("aptos2019", tmp_path)


def test_eyepacs_side_and_patient_come_from_the_name(tmp_path: Path) -> None:
    write(tmp_path, "trainLabels.csv", "image,level\n10_left,0\n10_right,1\n13_left,3\n")
    put(tmp_path, "train/10_left.jpeg", "train/10_right.jpeg", "train/13_left.jpeg", "train/13_right.jpeg")
    result = listing("eyepacs", tmp_path)
    assert by_name(result) == {
        "train/10_left.jpeg": {"dr_grade": 0, "eye_side": 1, "is_fundus": 1},
        "train/10_right.jpeg": {"dr_grade": 1, "eye_side": 0, "is_fundus": 1},
        "train/13_left.jpeg": {"dr_grade": 3, "eye_side": 1, "is_fundus": 1},
        "train/13_right.jpeg": {"eye_side": 0},
    }
    # The unlabelled eye has its patient, too, so that no split separates the two eyes.
    assert [r.patient_id for r in result.records] == ["eyepacs:10", "eyepacs:10", "eyepacs:13", "eyepacs:13"]
    assert result.images_without_row == ["train/13_right.jpeg"]
    write(tmp_path, "trainLabels.csv", "image,level\nleft_10,0\n")
    with pytest.raises(WrongInputError, match="row 2: 'left_10' is not of the form 10_left"):
        listing("eyepacs", tmp_path)


def idrid(root: Path) -> None:
    header = "Image name,Retinopathy grade,Risk of macular edema ,,,,,,,,,\r\n"  # the training file's, verbatim
    blank = ",,,,,,,,,"
    truths, images = "2. Groundtruths", "1. Original Images"
    write(
        root,
        f"{truths}/a. IDRiD_Disease Grading_Training Labels.csv",
        f"{header}IDRiD_001,3,2{blank}\r\nIDRiD_002,0,0{blank}\r\nIDRiD_003,2,1{blank}\r\n",
    )
    write(
        root,
        f"{truths}/b. IDRiD_Disease Grading_Testing Labels.csv",
        "Image name,Retinopathy grade,Risk of macular edema \r\nIDRiD_001,4,0\r\n",
    )
    put(root, *(f"{images}/a. Training Set/IDRiD_00{i}.jpg" for i in (1, 2, 3)))
    put(root, f"{images}/b. Testing Set/IDRiD_001.jpg")


@pytest.mark.parametrize("nested", ["", "B. Disease Grading", "B. Disease Grading/B. Disease Grading"])
def test_idrid_sets_share_names_but_not_images(tmp_path: Path, nested: str) -> None:
    idrid(tmp_path / nested)
    put(tmp_path, "A. Segmentation/1. Original Images/a. Training Set/IDRiD_01.jpg")
    result = listing("idrid", tmp_path)
    prefix = f"{nested}/" if nested else ""
    train = f"{prefix}1. Original Images/a. Training Set"
    assert by_name(result) == {
        f"{train}/IDRiD_001.jpg": {"dr_grade": 3, "is_dme": 1, "is_fundus": 1},
        f"{train}/IDRiD_002.jpg": {"dr_grade": 0, "is_dme": 0, "is_fundus": 1},
        f"{train}/IDRiD_003.jpg": {"dr_grade": 2, "is_fundus": 1},
        f"{prefix}1. Original Images/b. Testing Set/IDRiD_001.jpg": {"dr_grade": 4, "is_dme": 0, "is_fundus": 1},
    }
    assert (result.rows_without_image, result.images_without_row) == ([], [])


def test_a_missing_idrid_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongInputError, match=r"no file 'a\. IDRiD_Disease Grading_Training Labels\.csv'"):
        listing("idrid", tmp_path)
    idrid(tmp_path / "one")
    idrid(tmp_path / "two")
    with pytest.raises(WrongInputError, match="exists more than once"):
        listing("idrid", tmp_path)
    write(
        tmp_path,
        "one/2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv",
        "Image name,Retinopathy grade,Risk of macular edema \nIDRiD_001,4,3\n",
    )
    with pytest.raises(WrongInputError, match="row 2, column 'Risk of macular edema': '3' is not a known value"):
        listing("idrid", tmp_path / "one")


def messidor2(root: Path, pairs: bool = True) -> None:
    write(
        root,
        "messidor_data.csv",
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
        "20051020_43808_0100_PP.png,0.0,0.0,1\n20051020_43832_0100_PP.png,3.0,1.0,1\n"
        "IM000012.jpg,,,0\nIM004832.jpg,1.0,0.0,1\n",
    )
    put(root, "IMAGES/20051020_43808_0100_PP.png", "IMAGES/20051020_43832_0100_PP.png")
    put(root, "IMAGES/IM000012.JPG", "IMAGES/IM004832.JPG", "IMAGES/IM009999.JPG")
    if pairs:
        write(
            root,
            "messidor-2.csv",
            "left;right\n20051020_43808_0100_PP.png;20051020_43832_0100_PP.png\nIM000012.JPG;IM009999.JPG\n",
        )


def test_messidor2_grades_and_pairs_are_read(tmp_path: Path) -> None:
    messidor2(tmp_path)
    result = listing("messidor2", tmp_path)
    assert by_name(result) == {
        "IMAGES/20051020_43808_0100_PP.png": {"dr_grade": 0, "is_dme": 0, "is_fundus": 1},
        "IMAGES/20051020_43832_0100_PP.png": {"dr_grade": 3, "is_dme": 1, "is_fundus": 1},
        "IMAGES/IM000012.JPG": {},
        "IMAGES/IM004832.JPG": {"dr_grade": 1, "is_dme": 0, "is_fundus": 1},
        "IMAGES/IM009999.JPG": {},
    }
    first, second, third, alone, ungraded = (r.patient_id for r in result.records)
    assert first == second == "messidor2:20051020_43808_0100_pp"
    assert third == ungraded == "messidor2:im000012"
    assert alone is None
    assert result.has_patients


def test_messidor2_without_pairs_has_no_patients_and_an_image_in_two_pairs_is_refused(tmp_path: Path) -> None:
    messidor2(tmp_path, pairs=False)
    (tmp_path / "IMAGES").rename(tmp_path / "images")
    assert not listing("messidor2", tmp_path).has_patients
    write(tmp_path, "messidor-2.csv", "left;right\nIM000012.jpg;IM004832.jpg\nIM009999.jpg;IM004832.jpg\n")
    with pytest.raises(WrongInputError, match=r"messidor-2\.csv row 3: 'IM004832\.jpg' is in an earlier pair"):
        listing("messidor2", tmp_path)


def test_messidor2_pairs_whose_images_are_not_there_are_reported_once(tmp_path: Path) -> None:
    messidor2(tmp_path)
    (tmp_path / "IMAGES/IM000012.JPG").unlink()
    pairs = tmp_path / "messidor-2.csv"
    pairs.write_text(pairs.read_text() + "gone_1.png;gone_2.png\nIM004832.jpg;gone_3.png\n")
    assert listing("messidor2", tmp_path).rows_without_image == [
        "messidor_data.csv row 4: IM000012.jpg",
        "messidor-2.csv row 4: gone_1.png",
        "messidor-2.csv row 4: gone_2.png",
        "messidor-2.csv row 5: gone_3.png",
    ]


def test_messidor2_ignores_the_grade_of_an_ungradable_photograph(tmp_path: Path) -> None:
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
    write(tmp_path, "messidor_data.csv", f"{header}IM000012.jpg,0,0,0\n")
    put(tmp_path, "IMAGES/IM000012.JPG")
    assert by_name(listing("messidor2", tmp_path)) == {"IMAGES/IM000012.JPG": {}}


# Glaucoma


def test_airogs_classes_are_read(tmp_path: Path) -> None:
    write(tmp_path, "train_labels.csv", "challenge_id,class\nTRAIN000000,NRG\nTRAIN000001,RG\nTRAIN101441,NRG\n")
    put(tmp_path, "0/TRAIN000000.jpg", "0/TRAIN000001.jpg", "5/TRAIN101441.jpg")
    assert by_name(listing("airogs", tmp_path)) == {
        "0/TRAIN000000.jpg": {"is_gc": 0, "is_fundus": 1},
        "0/TRAIN000001.jpg": {"is_gc": 1, "is_fundus": 1},
        "5/TRAIN101441.jpg": {"is_gc": 0, "is_fundus": 1},
    }
    write(tmp_path, "train_labels.csv", "challenge_id,class\nTRAIN000000,U\n")
    with pytest.raises(
        WrongInputError, match="row 2, column 'class': 'U' is not a known value; expected one of RG, NRG"
    ):
        listing("airogs", tmp_path)


# Phantom


def test_phantoms_are_listed_without_rendering_and_rendered_when_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"num_images": 6, "size_px": 32, "seed": 3, "null_fraction": 0.3}
    with monkeypatch.context() as patch:
        patch.setattr("synfundus.phantom.records.render", lambda *a, **k: pytest.fail("a phantom was rendered"))
        result = list_source(ADAPTER.validate_python({"layout": "phantom", **settings}))
    assert len(result.records) == 6
    assert result.has_patients
    record = pickle.loads(pickle.dumps(result.records[4]))
    expected = phantom_record(PhantomConfig(**settings), 4)
    with Image.open(io.BytesIO(record.load())) as image:
        assert np.array_equal(np.asarray(image), expected.image_HWC)
    assert (record.labels, record.patient_id) == (expected.labels, expected.patient_id)
    assert any(value is None for r in result.records for value in r.labels.values())
