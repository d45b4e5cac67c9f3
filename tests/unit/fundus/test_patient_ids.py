"""One patient has one id in all tables of a study, whatever program or person wrote the table."""

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from synfundus.errors import WrongInputError
from synfundus.fundus.listing import merge_listings
from synfundus.fundus.sources import SourceConfig, SourceListing, list_source
from synfundus.fundus.sources.patient_ids import canonical_patient_id, patient_of
from synfundus.fundus.splits import SplitFractions, assign_splits
from synfundus.labels import UNKNOWN_WORDS

ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
NUM_PATIENTS = 30


def listing(layout: str, path: Path, **settings: Any) -> SourceListing:
    return list_source(ADAPTER.validate_python({"layout": layout, "path": str(path), **settings}))


def put(root: Path, *names: str) -> None:
    for shade, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (shade, 40, 10)).save(file, "JPEG")


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode())


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        *(
            (text, "12")
            for text in ("12", "12.0", "12.00", "12.", "0012", "00012.0", " 12 ", "\uff11\uff12", '="0012"')
        ),
        *((text, "-1") for text in ("-1", "-1.0", "-01")),
        *((text, "0") for text in ("0", "0.0", "000")),
        *((text, "p-12") for text in ("P-12", "p-12", " P-12\u00a0", "P\u200b-12", "\ufeffP-12", "\uff30-12")),
        *((f"P{dash}12", "p-12") for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"),
        ("\u22121.0", "-1"),
        *((text, "12") for text in ("'12", " '0012", "' 12", "'12.0")),
        *((text, text) for text in ("o'neil", "12'")),
        *((text, "doe, jane") for text in ("Doe, Jane", "DOE,  JANE", "doe,\u00a0jane")),
        *((unicodedata.normalize(form, "Größe"), "grösse") for form in ("NFC", "NFD", "NFKC", "NFKD")),
        # pandas reads a column of such ids as numbers, and writes them so.
        *((text, "100000") for text in ("1e5", "1E5", "100000.0", "10e4", "001e5")),
        *((text, "12.5") for text in ("12.5", "12.50", "012.500")),
        ("9" * 40 + ".0", "9" * 40),
        # What only resembles a number is text, and stays so.
        *(
            (text, text)
            for text in ("0x12", "1_2", "12a", "p0012", "1,200", "12-0", "1.2.0", "1e5a", "1e999", "1" * 99)
        ),
    ],
)
def test_spellings_of_one_id_are_one_id_and_others_stay(written: str, canonical: str) -> None:
    assert canonical_patient_id(written) == canonical
    assert canonical_patient_id(canonical) == canonical


@pytest.mark.parametrize("written", ["1.23457E+11", "1E+05", "1e+16", "1.2345678901234568e+16"])
def test_a_shortened_number_is_refused_because_several_patients_may_share_it(written: str) -> None:
    with pytest.raises(WrongInputError, match=rf"patient id '{re.escape(written)}' is a number .* digits are lost"):
        canonical_patient_id(written)


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "NULL", "None", "N/A", "#N/A", "<NA>", "?", " - ", "Unknown", "", "\u2013", "'", "'NaN"]
)
def test_an_unknown_id_is_no_patient(word: str) -> None:
    assert canonical_patient_id(word) is None
    assert patient_of("eyepacs", word) is None


def test_the_words_for_unknown_are_written_as_they_are_compared() -> None:
    assert all(word == word.strip().lower() for word in UNKNOWN_WORDS)
    assert len(set(UNKNOWN_WORDS)) == len(UNKNOWN_WORDS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{0}", "{0}.0"),
        ("{0}", "{0:04d}"),
        ("{0}e3", "{0}000.0"),
        ("P{0}", "p{0}"),
        ("Müller {0}", unicodedata.normalize("NFD", "Müller {0}")),
        ("Doe {0}", "Doe  {0}"),
    ],
)
def test_no_patient_of_two_sources_lies_in_two_splits(tmp_path: Path, one: str, other: str) -> None:
    for folder, form in (("left", one), ("right", other)):
        rows = [f"{folder}{i}.jpg,{form.format(i + 12)},1\n" for i in range(NUM_PATIENTS)]
        write(tmp_path / folder, "labels.csv", "file_name,patient_id,is_gc\n" + "".join(rows))
        put(tmp_path / folder / "images", *(f"{folder}{i}.jpg" for i in range(NUM_PATIENTS)))
    merged = merge_listings([listing("folder", tmp_path / folder) for folder in ("left", "right")])
    patients = [str(record.patient_id) for record in merged.records]
    splits = assign_splits(patients, [None] * len(patients), [True] * len(patients), 0, SplitFractions())
    splits_of: dict[str, set[str]] = {}
    for record, split in zip(merged.records, splits, strict=True):
        number = re.search(r"(\d+)\.jpg", record.name)
        assert number is not None
        splits_of.setdefault(number[1], set()).add(split)
    assert [len(splits) for splits in splits_of.values()] == [1] * NUM_PATIENTS


def test_images_of_unknown_patients_are_not_one_patient(tmp_path: Path) -> None:
    words = ["nan", "NaN", "NULL", "None", "N/A", ""]
    rows = [f"{i}.jpg,{word},1\n" for i, word in enumerate(words)]
    write(tmp_path, "labels.csv", "file_name,patient_id,is_gc\n" + "".join(rows))
    put(tmp_path / "images", *(f"{i}.jpg" for i in range(len(words))))
    result = listing("folder", tmp_path)
    assert [record.patient_id for record in result.records] == [None] * len(words)
    assert not result.has_patients


def test_a_shortened_id_in_a_table_is_named_with_its_row(tmp_path: Path) -> None:
    write(tmp_path, "labels.csv", "file_name,Fall,is_gc\na,7,1\nb,1.23457E+11,1\n")
    put(tmp_path / "images", "a.jpg", "b.jpg")
    with pytest.raises(WrongInputError, match=r"labels\.csv row 3, column 'Fall': patient id '1\.23457E\+11'"):
        listing("folder", tmp_path, patient_column="Fall")


def test_eyepacs_and_odir_number_their_patients_in_one_form(tmp_path: Path) -> None:
    write(tmp_path, "eye/trainLabels.csv", "image,level\n010_left,1\ntrain\\10_right,2\n")
    put(tmp_path / "eye/train", "010_left.jpeg", "10_right.jpeg")
    assert {record.patient_id for record in listing("eyepacs", tmp_path / "eye").records} == {"eyepacs:10"}
    header = "ID,Left-Fundus,Right-Fundus,Left-Diagnostic Keywords,Right-Diagnostic Keywords\n"
    rows = "12.0,0_left.jpg,nan,glaucoma,NaN\nNaN,1_left.jpg,1_right.jpg,nan,glaucoma\n"
    write(tmp_path, "odir/full_df.csv", header + rows)
    put(tmp_path / "odir/preprocessed_images", "0_left.jpg", "1_left.jpg", "1_right.jpg", "012_left.jpg")
    records = listing("odir5k", tmp_path / "odir").records
    assert [record.patient_id for record in records] == ["odir5k:12", "odir5k:12", None, None]
    assert records[2].labels["is_fundus"] is None, "`nan` is no keyword"


def test_messidor_pairs_without_one_eye_are_not_one_patient(tmp_path: Path) -> None:
    grades = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\nA.jpg,0,0,1\nB.jpg,1,0,1\n"
    write(tmp_path, "messidor_data.csv", grades)
    put(tmp_path / "IMAGES", "A.jpg", "B.jpg")
    write(tmp_path, "messidor-2.csv", "left;right\nnan;A.jpg\nnan;B.jpg\n")
    assert [r.patient_id for r in listing("messidor2", tmp_path).records] == ["messidor2:a", "messidor2:b"]
    write(tmp_path, "messidor-2.csv", "left;right\nX.jpg;Y.jpg\n")
    with pytest.raises(WrongInputError, match=r"messidor-2\.csv: none of its rows finds an image, such as 'A\.jpg'"):
        listing("messidor2", tmp_path)


def test_phantoms_have_canonical_patients() -> None:
    config = ADAPTER.validate_python({"layout": "phantom", "num_images": 4, "size_px": 32, "seed": 1})
    for record in list_source(config).records:
        assert record.patient_id is not None
        assert canonical_patient_id(record.patient_id) == record.patient_id
