"""Any folder with a CSV: mapping, matching of rows and images, one-line errors with file, row and column."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from synfundus.errors import WrongInputError
from synfundus.fundus.sources import SourceConfig, SourceListing, list_source
from synfundus.labels import LABEL_NAMES

ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)


def listing(path: Path, **settings: Any) -> SourceListing:
    return list_source(ADAPTER.validate_python({"layout": "folder", "path": str(path), **settings}))


def known(labels: Any) -> dict[str, int]:
    assert tuple(labels) == LABEL_NAMES
    return {name: value for name, value in labels.items() if value is not None}


def png(shade: int, suffix: str = "png") -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 40, 10)).save(sink, suffix.upper().replace("JPG", "JPEG"))
    return sink.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    def make(csv: str | bytes, *names: str, csv_name: str = "labels.csv") -> Path:
        (tmp_path / csv_name).write_bytes(csv.encode() if isinstance(csv, str) else csv)
        for shade, name in enumerate(names):
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(shade))
        return tmp_path

    return make


def test_columns_with_label_names_are_read_and_others_ignored(dataset: Callable[..., Path]) -> None:
    path = dataset(
        "file_name,camera,dr_grade,eye_side,is_gc,patient_id\na.png,Topcon,3,1,,p1\nb.png,Kowa,,0,1.0,p1\n",
        "images/a.png",
        "images/b.png",
    )
    result = listing(path)
    a, b = result.records
    assert (a.name, known(a.labels), a.patient_id) == ("images/a.png", {"dr_grade": 3, "eye_side": 1}, "p1")
    assert (b.name, known(b.labels), b.patient_id) == ("images/b.png", {"eye_side": 0, "is_gc": 1}, "p1")
    assert result.has_patients
    assert a.split is None
    assert (result.rows_without_image, result.images_without_row) == ([], [])


def test_columns_maps_and_constants_of_a_study_are_applied(dataset: Callable[..., Path]) -> None:
    path = dataset(
        "Bild,Seite,Stadium,Glaukom,Fall\nx,OD,none,0,7\ny,OS,PDR,1,8\nz,,?,,\n", "photos/x.png", "photos/y.png",
        "photos/z.png", csv_name="befund.csv",
    )  # fmt: skip
    result = listing(
        path,
        csv="befund.csv",
        images="photos",
        image_column="Bild",
        patient_column="Fall",
        columns={
            "eye_side": {"column": "Seite", "map": {"OD": 0, "OS": 1}},
            "dr_grade": {"column": "Stadium", "map": {"none": 0, "PDR": 4, "?": None}},
            "is_gc": "Glaukom",
        },
        constants={"is_fundus": 1},
    )
    assert [known(r.labels) for r in result.records] == [
        {"dr_grade": 0, "eye_side": 0, "is_gc": 0, "is_fundus": 1},
        {"dr_grade": 4, "eye_side": 1, "is_gc": 1, "is_fundus": 1},
        {"is_fundus": 1},
    ]
    assert [r.patient_id for r in result.records] == ["7", "8", None]


def test_map_keys_may_be_numbers_in_yaml_and_cells_may_be_floats(dataset: Callable[..., Path]) -> None:
    path = dataset("file_name,side\na,1\nb,2.0\nc,\n", "images/a.png", "images/b.png", "images/c.png")
    result = listing(path, columns={"eye_side": {"column": "side", "map": {1: 0, 2: 1}}})
    assert [r.labels["eye_side"] for r in result.records] == [0, 1, None]


def test_rules_between_labels_hold_for_an_image_that_is_no_fundus(dataset: Callable[..., Path]) -> None:
    path = dataset("file_name,is_fundus,dr_grade,eye_side,is_macular_readable\na,0,0,1,1\n", "images/a.png")
    assert known(listing(path).records[0].labels) == {
        "is_fundus": 0,
        "is_macular_readable": 0,
        "is_optic_disc_readable": 0,
        "is_retinal_region_readable": 0,
    }


def test_rows_without_image_and_images_without_row_are_reported_and_stop_nothing(dataset: Callable[..., Path]) -> None:
    path = dataset("file_name,is_fundus\na.png,1\ngone.png,1\n", "images/a.png", "images/sub/extra.png")
    (path / "images/.hidden.png").write_bytes(b"x")
    (path / "images/notes.txt").write_text("not an image")
    result = listing(path)
    assert result.rows_without_image == ["labels.csv row 3: gone.png"]
    assert result.images_without_row == ["images/sub/extra.png"]
    assert [(r.name, known(r.labels)) for r in result.records] == [
        ("images/a.png", {"is_fundus": 1}),
        ("images/sub/extra.png", {}),
    ]
    assert not result.has_patients


@pytest.mark.parametrize(
    "written",
    ["sub/A.one.png", "./sub/A.one.png", "sub\\A.one.png", "A.one.png", "A.one", "a.ONE.jpg", "sub/A.one.JPEG"],
)
def test_an_image_is_found_by_path_name_stem_or_other_suffix(dataset: Callable[..., Path], written: str) -> None:
    path = dataset(f"file_name,is_fundus\n{written},1\n", "images/sub/A.one.png", "images/sub/B.one.png")
    result = listing(path)
    assert [known(r.labels) for r in result.records] == [{"is_fundus": 1}, {}]


def test_the_same_suffix_wins_and_an_ambiguous_name_is_refused(dataset: Callable[..., Path]) -> None:
    path = dataset("file_name,is_fundus\na.png,1\n", "images/l/a.png", "images/r/a.jpg")
    assert [known(r.labels) for r in listing(path).records] == [{"is_fundus": 1}, {}]
    (path / "images/r/a.png").write_bytes(png(1))
    with pytest.raises(WrongInputError, match=r"labels\.csv row 2: 'a\.png' may be l/a\.png or r/a\.png"):
        listing(path)


def test_listing_reads_no_image_and_pickled_records_load_the_original_bytes(
    dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dataset("file_name,dr_grade\nb,2\na,2\n", "images/a.png", "images/b.png")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda self: pytest.fail(f"{self} was read"))
        records = listing(path).records
    again = pickle.loads(pickle.dumps(records))
    assert again == records
    assert [r.load() for r in again] == [(path / "images/a.png").read_bytes(), (path / "images/b.png").read_bytes()]
    assert records[0].labels is records[1].labels


def test_csv_files_as_spreadsheets_write_them_are_read(dataset: Callable[..., Path]) -> None:
    header = "\ufefffile_name , dr_grade,note,,\r\n"
    rows = '"a, left.png",1,"said ""mild"",\r\nlater 2",,\r\n,,,,\r\n\r\nb.png, 4 ,,,\r\n'
    path = dataset(header + rows, "images/a, left.png", "images/b.png")
    assert [r.labels["dr_grade"] for r in listing(path).records] == [1, 4]


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("file_name,dr_grade\na,7\n", r"labels\.csv row 2, column 'dr_grade': dr_grade is '7'; .*from 0 to 4"),
        ("file_name,is_gc\na,1\nb,\nc,yes\n", r"row 4, column 'is_gc': is_gc is 'yes'; .*from 0 to 1"),
        ("file_name,dr_grade\n\n\na,-1\n", r"row 4, column 'dr_grade'"),
        ("fil_name,dr_grade\na,1\n", r"labels\.csv: no column 'file_name'; did you mean 'fil_name'\?"),
        ("FILE NAME,dr_grade\na,1\n", r"labels\.csv: no column 'file_name'; did you mean 'FILE NAME'\?"),
        ("file_name;dr_grade\na;1\n", r"no column 'file_name'; save the file with ',' between cells"),
        ("file_name,camera\na,Kowa\n", r"no label column; .*its columns are file_name, camera"),
        ("file_name,dr_grade,dr_grade\na,1,2\n", r"the column 'dr_grade' twice"),
        ("file_name,dr_grade\na,1\na,2\n", r"rows 2 and 3 both describe 'a'"),
        ("file_name,dr_grade\na,1\na.png,2\n", r"rows 2 and 3 both describe 'a\.png'"),
        ("file_name,dr_grade\nz,1\nb,1\nz,2\n", r"rows 2 and 4 both describe 'z'"),
        ("file_name,dr_grade\na,1\n,2\n", r"row 3: the row names no image"),
        ("file_name,dr_grade\na,1,oops\n", r"row 2: 3 cells, but the header has 2"),
        ("file_name,dr_grade\na,1\nb\n", r"row 3: 1 cells, but the header has 2"),
        ('file_name,dr_grade\na,"1\n', r"row 2: not readable as CSV"),
        ("", r"labels\.csv: the file is empty"),
        ("file_name,note\nä,1\nJosé,2\n".encode("latin-1"), r"labels\.csv line 2: byte 0xe4 is not UTF-8; save"),
        ("file_name,dr_grade\na,1\n".encode("utf-16"), r"labels\.csv line 1: byte 0xff is not UTF-8"),
    ],
)
def test_a_wrong_table_is_one_line_with_file_row_and_remedy(
    dataset: Callable[..., Path], csv: str | bytes, message: str
) -> None:
    path = dataset(csv, "images/a.png", "images/b.png", "images/c.png")
    with pytest.raises(WrongInputError, match=message) as caught:
        listing(path)
    assert "\n" not in str(caught.value)


def test_a_value_outside_the_map_is_refused_with_the_known_values(dataset: Callable[..., Path]) -> None:
    path = dataset("file_name,class\na,RG\nb,maybe\n", "images/a.png", "images/b.png")
    with pytest.raises(WrongInputError, match=r"row 3, column 'class': 'maybe' is not a known value; .* RG, NRG"):
        listing(path, columns={"is_gc": {"column": "class", "map": {"RG": 1, "NRG": 0}}})


def test_a_column_of_the_study_must_exist(dataset: Callable[..., Path]) -> None:
    path = dataset("file_name,Diagnose,Patient\na,1,x\n", "images/a.png")
    with pytest.raises(WrongInputError, match=r"labels\.csv: no column 'diagnose'; did you mean 'Diagnose'\?"):
        listing(path, columns={"dr_grade": "diagnose"})
    with pytest.raises(WrongInputError, match="no column 'patient'; did you mean 'Patient'"):
        listing(path, columns={"dr_grade": "Diagnose"}, patient_column="patient")


def test_missing_files_and_folders_are_named(dataset: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(WrongInputError, match="nowhere: no such folder"):
        listing(tmp_path / "nowhere")
    with pytest.raises(WrongInputError, match=r"labels\.csv: no such file"):
        listing(tmp_path)
    path = dataset("file_name,dr_grade\na,1\n")
    with pytest.raises(WrongInputError, match=r"labels\.csv: is a file, not a folder"):
        listing(path / "labels.csv")
    with pytest.raises(WrongInputError, match="images: no such folder"):
        listing(path)
    (path / "images").mkdir()
    with pytest.raises(WrongInputError, match="images: no image in this folder"):
        listing(path)
    with pytest.raises(WrongInputError, match="must lie below the source's path"):
        listing(path, images="/")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colums": {}}, "did you mean 'columns'"),
        ({"columns": {"dr": "x"}}, "'dr' is not a label"),
        ({"constants": {"is_fundos": 1}}, "'is_fundos' is not a label"),
        ({"constants": {"is_fundus": 2}}, "is_fundus is 2; its range is 0 to 1"),
        ({"columns": {"dr_grade": {"column": "x", "map": {"a": 5}}}}, "dr_grade is 5; its range is 0 to 4"),
        ({"columns": {"is_gc": {"column": "x", "map": {True: 1}}}}, "must be in quotes"),
        ({"columns": {"is_gc": "x"}, "constants": {"is_gc": 1}}, "is_gc is in `columns` and in `constants`"),
        ({"layout": "foldr"}, "foldr"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python({"layout": "folder", "path": "x"} | settings)


def test_short_and_long_form_of_a_column_are_equal_settings() -> None:
    short = ADAPTER.validate_python({"layout": "folder", "path": "x", "columns": {"dr_grade": "g"}})
    long = ADAPTER.validate_python({"layout": "folder", "path": "x", "columns": {"dr_grade": {"column": "g"}}})
    assert short == long
    assert ADAPTER.validate_python(short.model_dump(mode="json")) == short
