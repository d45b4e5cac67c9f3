"""Rows, columns and labels of a table are matched, or refused, or reported: none is lost in silence."""

import errno
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from support.listings import record
from synfundus.environment import Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.decoding import FORMATS
from synfundus.fundus.listing_summary import source_rows
from synfundus.fundus.preprocess import Rejected
from synfundus.fundus.signatures import NOT_DECODED
from synfundus.fundus.sources import SourceConfig, SourceListing, image_folder, list_source
from synfundus.fundus.sources.image_folder import DECODED_SUFFIXES, NOT_DECODED_SUFFIXES, ImageFolder
from synfundus.fundus.sources.place import S3Place
from synfundus.fundus.staging import load_and_prepare

ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
Dataset = Callable[..., SourceListing]


def put(root: Path, *names: str) -> None:
    for shade, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (shade, 40, 10)).save(file, "JPEG")


@pytest.fixture
def listing(tmp_path: Path) -> Dataset:
    """Return a function that writes a table and images, and lists them."""

    def make(csv: str, *names: str, **settings: Any) -> SourceListing:
        (tmp_path / "labels.csv").write_bytes(csv.encode())
        put(tmp_path, *names)
        return list_source(ADAPTER.validate_python({"layout": "folder", "path": str(tmp_path), **settings}))

    return make


def grades(result: SourceListing) -> dict[str, int | None]:
    return {record.name: record.labels["dr_grade"] for record in result.records}


# Names of images


@pytest.mark.parametrize(
    "written",
    [
        "images/A.jpg",
        "images/a",
        "./images/A.jpg",
        "/data/clinic/images/A.jpg",
        "/elsewhere/A.jpg",
        "C:\\clinic\\images\\A.jpg",
        "..\\images\\A.jpg",
        "file:///data/images/A.jpg",
        "s3://bucket/clinic/images/A.jpg",
        "export/A.png",
    ],
)
def test_a_path_of_another_folder_or_machine_finds_its_image(listing: Dataset, written: str) -> None:
    result = listing(f"file_name,dr_grade\n{written},3\nb,1\n", "images/A.jpg", "images/b.jpg")
    assert grades(result) == {"images/A.jpg": 3, "images/b.jpg": 1}
    assert (result.rows_without_image, result.images_without_row) == ([], [])


def test_of_several_images_the_one_whose_folders_agree_furthest_wins(listing: Dataset) -> None:
    table = "file_name,dr_grade\n/data/images/x/a.jpg,1\n/data/images/y/a.jpg,2\nimages/a.jpg,3\n"
    result = listing(table, "images/x/a.jpg", "images/y/a.jpg", "images/a.jpg")
    assert grades(result) == {"images/a.jpg": 3, "images/x/a.jpg": 1, "images/y/a.jpg": 2}


def test_folders_that_contradict_each_other_are_no_match(listing: Dataset) -> None:
    result = listing("file_name,dr_grade\nx/a.jpg,1\nb.jpg,2\n", "images/y/a.jpg", "images/b.jpg")
    assert grades(result) == {"images/y/a.jpg": None, "images/b.jpg": 2}
    assert result.rows_without_image == ["labels.csv row 2: x/a.jpg"]
    with pytest.raises(WrongInputError, match=r"rows 2 and 3 both describe 'q/b\.jpg'"):
        listing("file_name,dr_grade\np/b.jpg,1\nq/b.jpg,2\n")


@pytest.mark.parametrize(("one", "two"), [("1", "02"), ("1.0", "2.0"), ("0001.jpg", "images/2.png")])
def test_a_number_finds_the_number_with_zeros(listing: Dataset, one: str, two: str) -> None:
    result = listing(f"file_name,dr_grade\n{one},1\n{two},2\n", "images/001.jpg", "images/002.jpg", "images/003.jpg")
    assert grades(result) == {"images/001.jpg": 1, "images/002.jpg": 2, "images/003.jpg": None}


def test_a_number_of_two_images_is_refused_unless_one_is_written_alike(listing: Dataset) -> None:
    with pytest.raises(WrongInputError, match=r"row 2: '1' may be 001\.jpg or 01\.jpg"):
        listing("file_name,dr_grade\n1,1\n", "images/001.jpg", "images/01.jpg")
    assert grades(listing("file_name,dr_grade\n01,1\n")) == {"images/001.jpg": None, "images/01.jpg": 1}


@pytest.mark.parametrize(("form", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_match_in_any_unicode_normal_form(listing: Dataset, form: Any, other: Any) -> None:
    header = f"file_name,{unicodedata.normalize(other, 'Größe')}\n"
    result = listing(
        f"{header}{unicodedata.normalize(other, 'Zoë/Müller.jpg')},3\n",
        unicodedata.normalize(form, "images/Zoë/Müller.jpg"),
        columns={"dr_grade": unicodedata.normalize("NFC", "Größe")},
    )
    assert list(grades(result).values()) == [3]


OTHER_FOLDER = ("test/1.jpg", "test/x/3.jpg", "train/1.jpg", "train/x/3.jpg", "2.jpg", "test/2.jpg")


@pytest.mark.parametrize(
    "written", ["train/1.jpg", "train/1", "./Train/1.png", "train\\x\\3.jpg", "2.JPG", "{}/train/1"]
)
def test_a_path_of_another_folder_of_the_source_is_no_match(listing: Dataset, tmp_path: Path, written: str) -> None:
    written = written.format(tmp_path)
    result = listing(f"file_name,dr_grade\n{written},4\nx/3,1\n", *OTHER_FOLDER, images="test")
    assert grades(result) == {"test/1.jpg": None, "test/2.jpg": None, "test/x/3.jpg": 1}
    assert result.rows_without_image == [f"labels.csv row 2: {written}"]


def test_rows_of_two_folders_grade_the_images_of_the_listed_one(listing: Dataset, tmp_path: Path) -> None:
    table = "file_name,dr_grade\ntrain/1.jpg,4\ntest/1.jpg,0\n{0}/test/2.jpg,1\n/data/train/x/3.jpg,2\n"
    result = listing(table.format(tmp_path), *OTHER_FOLDER, images="test")
    assert grades(result) == {"test/1.jpg": 0, "test/2.jpg": 1, "test/x/3.jpg": 2}
    assert result.rows_without_image == ["labels.csv row 2: train/1.jpg"]


def test_a_path_of_another_folder_on_s3_is_no_match() -> None:
    keys = sorted(f"bucket/eyes/{name}" for name in OTHER_FOLDER)
    root = S3Place(PurePosixPath("bucket/eyes"), keys, Environment().s3)
    images = ImageFolder(root / "test", root)
    rows = ("train/1.jpg", "s3://bucket/eyes/train/1.jpg", "2.JPG", "s3://bucket/eyes/test/1.jpg", "s3://other/train/1")
    assert [images.find(row, "here") for row in rows] == [None, None, None, "1.jpg", "1.jpg"]


@pytest.mark.parametrize(
    ("written", "deepest"),
    [
        *((written, "p0/left.png") for written in ("p{}/left.png", "/data/images/p{}/left.png", "P{}/left")),
        *((written, "p0/a/b/left.png") for written in ("p{}/left.png", "images/p{}/left.png")),
    ],
)
def test_each_row_is_compared_with_few_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, deepest: str
) -> None:
    num_patients = 3000
    monkeypatch.setattr(
        image_folder, "_images", lambda _: [deepest, *(f"p{i}/left.png" for i in range(1, num_patients))]
    )
    (tmp_path / "images").mkdir()
    images = ImageFolder(tmp_path / "images", tmp_path)
    compared = 0
    agreeing = ImageFolder._agreeing_folders

    def count(self: ImageFolder, image: str, parts: list[str]) -> int | None:
        nonlocal compared
        compared += 1
        return agreeing(self, image, parts)

    monkeypatch.setattr(ImageFolder, "_agreeing_folders", count)
    for patient in range(1, num_patients):
        assert images.find(written.format(patient), "here") == f"p{patient}/left.png"
    assert compared <= 2 * num_patients


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "-", ""])
def test_a_word_for_unknown_names_no_image(listing: Dataset, word: str) -> None:
    with pytest.raises(WrongInputError, match=r"row 3: the row names no image; fill the cell"):
        listing(f"file_name,dr_grade\na,1\n{word},2\n", "images/a.jpg")


def test_formats_that_are_not_decoded_are_listed_and_rejected_with_the_reason(listing: Dataset, tmp_path: Path) -> None:
    assert NOT_DECODED_SUFFIXES.keys() == {name for _, _, name in NOT_DECODED}
    suffixes = [suffix for group in NOT_DECODED_SUFFIXES.values() for suffix in group]
    names = [f"images/{number}{suffix}" for number, suffix in enumerate(suffixes)]
    put(tmp_path, *names)
    (tmp_path / "images/0.dcm").write_bytes(bytes(128) + b"DICM" + bytes(64))
    rows = "".join(f"{name},1\n" for name in names)
    result = listing(f"file_name,dr_grade\n{rows}")
    assert (len(result.records), result.rows_without_image) == (len(suffixes), [])
    _, outcome = load_and_prepare(
        next(r for r in result.records if r.name == "images/0.dcm"), PrepareConfig(size_px=32)
    )
    assert isinstance(outcome, Rejected)
    assert (outcome.reason.value, outcome.detail[:18]) == ("not_an_image", "DICOM is not read;")


@pytest.mark.parametrize("written", ["a", "a.heic", "images/a.HEIC", "A.jpg"])
def test_a_decoded_file_is_found_before_its_original_of_another_format(listing: Dataset, written: str) -> None:
    result = listing(f"file_name,dr_grade\n{written},3\n", "images/a.HEIC", "images/a.jpg", "images/a.pdf")
    assert grades(result) == {"images/a.HEIC": None, "images/a.jpg": 3, "images/a.pdf": None}


def test_every_suffix_of_a_format_that_is_decoded_is_listed(listing: Dataset) -> None:
    registered = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    assert registered <= DECODED_SUFFIXES
    result = listing("file_name,dr_grade\na.jfif,1\nb.jpe,2\nc,3\n", "images/a.jfif", "images/b.jpe", "images/c.JFIF")
    assert grades(result) == {"images/a.jfif": 1, "images/b.jpe": 2, "images/c.JFIF": 3}


def test_a_file_name_that_is_not_utf_8_is_named(listing: Dataset, tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg")
    (tmp_path / "images" / os.fsdecode(b"M\xfcller.jpg")).write_bytes(b"x")
    message = r"images: 1 file names are not UTF-8, first b'M\\xfcller\.jpg'; rename"
    with pytest.raises(WrongInputError, match=message) as caught:
        listing("file_name,dr_grade\na,1\n")
    str(caught.value).encode()


def test_a_link_to_itself_is_rejected_and_a_pipe_is_no_image(listing: Dataset, tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg")
    (tmp_path / "images/loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "images/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "images/pipe.jpg")
    result = listing("file_name,dr_grade\na,1\nloop,1\n")
    outcomes = {r.name: load_and_prepare(r, PrepareConfig(size_px=16))[1] for r in result.records}
    assert sorted(outcomes) == ["images/a.jpg", "images/gone.jpg", "images/loop.jpg"]
    for name, detail in (("images/loop.jpg", "Too many levels of symbolic links"), ("images/gone.jpg", "No such file")):
        rejected = outcomes[name]
        assert isinstance(rejected, Rejected)
        assert detail in rejected.detail


@dataclass(frozen=True)
class FailingDisk:
    """An image on a disk that fails."""

    def load(self) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "a.jpg")


def test_a_failing_disk_rejects_no_image_and_is_named() -> None:
    broken = replace(record("images/a.jpg"), read=FailingDisk())
    with pytest.raises(StorageError, match=r"^images/a\.jpg: cannot be read \(Input/output error\); run the same"):
        load_and_prepare(broken, PrepareConfig(size_px=16))


# Tables of which little is used


@pytest.mark.parametrize("rows", ["x/1.jpg,1\n", "p.jpg,1\nq.jpg,2\n"])
def test_a_table_of_which_no_row_finds_an_image_is_refused_with_both_sides(listing: Dataset, rows: str) -> None:
    first = rows.split(",")[0]
    message = rf"labels\.csv: none of its \d rows finds an image: row 2 names '{first}', and .*images holds 'b\.jpg'"
    with pytest.raises(WrongInputError, match=message):
        listing(f"file_name,dr_grade\n{rows}", "images/b.jpg", "images/y/1.jpg")


def test_each_table_of_a_source_must_find_an_image(tmp_path: Path) -> None:
    header = "Image name,Retinopathy grade,Risk of macular edema \n"
    (tmp_path / "2. Groundtruths").mkdir()
    for letter, kind, name in (("a", "Training", "IDRiD_1"), ("b", "Testing", "lost")):
        table = tmp_path / f"2. Groundtruths/{letter}. IDRiD_Disease Grading_{kind} Labels.csv"
        table.write_text(f"{header}{name},3,2\n")
        put(tmp_path, f"1. Original Images/{letter}. {kind} Set/IDRiD_1.jpg")
    with pytest.raises(WrongInputError, match=r"Testing Labels\.csv: none of its 1 rows finds an image"):
        list_source(ADAPTER.validate_python({"layout": "idrid", "path": str(tmp_path)}))


def test_fewer_than_half_of_the_rows_give_a_warning_with_both_sides(listing: Dataset) -> None:
    half = listing("file_name,dr_grade\na,1\nlost,1\n", "images/a.jpg", "images/z.jpg")
    assert [table.warning for table in half.tables] == [None]
    fewer = listing("file_name,dr_grade\na,1\nlost,1\ngone,1\n")
    assert dict(source_rows(fewer))["warning"] == (
        "labels.csv: only 1 of 3 rows find an image; row 3 names 'lost', and no row describes images/z.jpg"
    )


def test_the_summary_names_labels_by_value_columns_not_used_and_everything_unmatched(listing: Dataset) -> None:
    table = "file_name,patient_id,Stage,is_gc,camera,is_fundus\na,7,2,,Kowa,0\nb,7.0,2,,Kowa,1\nc,,,,,1\nlost,1,1,,,1\n"
    result = listing(
        table, *(f"images/{name}.jpg" for name in "abcxyzw"), columns={"dr_grade": "Stage"}, constants={"is_fundus": 1}
    )
    assert source_rows(result) == [
        ("images", "7"),
        ("patients", "1; 5 images without patient count as a patient each"),
        ("dr_grade", "2: 2; unknown: 5 (column 'Stage')"),
        ("is_fundus", "1: 3; unknown: 4"),
        ("columns without value", "is_gc"),
        ("columns not used", "camera, is_fundus (labels.csv)"),
        ("rows without image", "1 (labels.csv row 5: lost)"),
        ("images without row", "4 (images/w.jpg, images/x.jpg, images/y.jpg, ...)"),
    ]


# Columns whose names are nearly right


@pytest.mark.parametrize(
    "column", ["DR_Grade", "dr_grad", "DR Grade", "dr-grade", "drGrade", "dr_grades", "DR grade (0-4)"]
)
def test_a_column_that_looks_like_a_missing_label_is_refused_with_the_setting(listing: Dataset, column: str) -> None:
    table = f"file_name,{column},is_gc\na,1,1\n"
    with pytest.raises(WrongInputError) as caught:
        listing(table, "images/a.jpg")
    assert f"column {column!r} looks like the label dr_grade; set columns: {{dr_grade: {column!r}}}" in str(
        caught.value
    )
    assert grades(listing(table, columns={"dr_grade": column})) == {"images/a.jpg": 1}
    with pytest.raises(WrongInputError, match="looks like the label dr_grade"):
        listing(f"file_name,{column}\na,1\n")


def test_a_column_that_looks_like_a_label_is_not_refused_if_the_label_is_given(listing: Dataset) -> None:
    result = listing("file_name,dr_grade,DR_Grade,Is_Fundus\na,1,2,0\n", "images/a.jpg", constants={"is_fundus": 1})
    assert grades(result) == {"images/a.jpg": 1}
    assert result.tables[0].unused_columns == ("DR_Grade", "Is_Fundus")
    assert result.records[0].labels["is_fundus"] == 1


@pytest.mark.parametrize(
    "column", ["is_md", "is_cataract", "grade", "eye", "quality", "is_diabetic_maculopathy", "patient_age"]
)
def test_a_column_of_another_name_is_not_refused(listing: Dataset, column: str) -> None:
    result = listing(f"file_name,{column},is_gc\na,1,1\n", "images/a.jpg")
    assert result.tables[0].unused_columns == (column,)


@pytest.mark.parametrize("column", ["PatientID", "patient id", "Patient", "patients", "PATIENT_ID"])
def test_a_column_that_looks_like_the_patients_is_refused_with_the_setting(listing: Dataset, column: str) -> None:
    table = f"file_name,{column},is_gc\na,p,1\n"
    with pytest.raises(WrongInputError, match=f"column '{column}' looks like patient ids.*patient_column: '{column}'"):
        listing(table, "images/a.jpg")
    assert listing(table, patient_column=column).has_patients


def test_synfundus_1m_refuses_a_column_that_looks_like_a_missing_label(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text("file_name,is_gc,DR_grade\na,1,2\n")
    source = ADAPTER.validate_python({"layout": "synfundus-1m", "path": str(tmp_path), "csv": "t.csv"})
    with pytest.raises(WrongInputError, match=r"t\.csv: column 'DR_grade' looks like the label dr_grade; rename it"):
        list_source(source)


# Values


@pytest.mark.parametrize("word", ["NaN", "nan", "NULL", "None", "N/A", "#N/A", "<NA>", "?", ""])
def test_words_for_unknown_are_unknown_with_a_map_and_without(listing: Dataset, word: str) -> None:
    table = f"file_name,g,dr_grade\na,{word},{word}\nb,yes,1\n"
    result = listing(table, "images/a.jpg", "images/b.jpg", columns={"is_gc": {"column": "g", "map": {"yes": 1}}})
    assert (result.records[0].labels["is_gc"], result.records[0].labels["dr_grade"]) == (None, None)
    assert (result.records[1].labels["is_gc"], result.records[1].labels["dr_grade"]) == (1, 1)


def test_a_map_that_holds_a_word_for_unknown_has_precedence_and_its_other_case_is_an_error(listing: Dataset) -> None:
    column = {"column": "stage", "map": {"none": 0, "mild": 1}}
    table = "file_name,stage\na,none\nb,mild\n"
    result = listing(table, "images/a.jpg", "images/b.jpg", columns={"dr_grade": column})
    assert grades(result) == {"images/a.jpg": 0, "images/b.jpg": 1}
    with pytest.raises(WrongInputError, match=r"row 2, column 'stage': 'None' is not a known value.* none, mild"):
        listing(table.replace("none", "None"), columns={"dr_grade": column})


def test_true_and_false_of_a_flag_are_read_and_other_words_name_the_map(listing: Dataset) -> None:
    result = listing("file_name,is_gc\na,True\nb,FALSE\nc,\n", *(f"images/{name}.jpg" for name in "abc"))
    assert [record.labels["is_gc"] for record in result.records] == [1, 0, None]
    with pytest.raises(
        WrongInputError, match=r"is_gc is 'yes'.*columns: \{is_gc: \{column: 'is_gc', map: \{'yes': VALUE"
    ):
        listing("file_name,is_gc\na,yes\n")
    with pytest.raises(WrongInputError, match=r"eye_side is 'True'.*map"):
        listing("file_name,eye_side\na,True\n")


# Tables as programs write them


def test_an_empty_table_or_a_header_alone_is_refused(listing: Dataset) -> None:
    for table, message in (
        ("file_name,dr_grade\n", "the table has a header, but no row"),
        ("file_name,dr_grade\n,\n\n", "the table has a header, but no row"),
        ("\nfile_name,dr_grade\na,1\n", "the first row is blank"),
        ("\ufeff", "the file is empty"),
    ):
        with pytest.raises(WrongInputError, match=message):
            listing(table, "images/a.jpg")


def test_a_source_without_any_label_is_warned_about(listing: Dataset) -> None:
    result = listing("file_name,dr_grade,is_gc\na,,nan\n", "images/a.jpg")
    rows = dict(source_rows(result))
    assert rows["columns without value"] == "dr_grade, is_gc"
    assert rows["warning"] == "no image has a label"


@pytest.mark.parametrize("table", ["file_name;dr_grade;note, long\na;1;x, y\n", "file_name\tdr_grade\na\t1\n"])
def test_another_separator_is_named_though_a_comma_occurs(listing: Dataset, table: str) -> None:
    with pytest.raises(WrongInputError, match="no column 'file_name'; save the file with ',' between cells"):
        listing(table, "images/a.jpg")


@pytest.mark.parametrize(
    "table",
    [
        "\ufefffile_name,dr_grade\na,1.0\nb,\n",
        "\ufeff\ufefffile_name,dr_grade\na,1\nb,nan\n",
        "file_name,dr_grade\ra,1\rb,NULL\r",
        ",file_name,dr_grade,dr_grade.1\n0,a,1,2\n1,b,,3\n",
        'file_name,dr_grade,note\na,1,"x\ny"\nb,,""\n',
    ],
)
def test_tables_as_programs_write_them_are_read(listing: Dataset, table: str) -> None:
    assert grades(listing(table, "images/a.jpg", "images/b.jpg")) == {"images/a.jpg": 1, "images/b.jpg": None}


def test_a_number_out_of_range_names_no_map(listing: Dataset) -> None:
    with pytest.raises(WrongInputError, match=r"dr_grade is '9'.*for unknown$"):
        listing("file_name,dr_grade\na,9\n", "images/a.jpg")
