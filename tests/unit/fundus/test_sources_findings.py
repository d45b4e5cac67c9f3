"""RFMiD and ODIR-5K: findings and keywords become labels, on fixtures with the real file names and columns."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from synfundus.errors import WrongInputError
from synfundus.fundus.sources import SourceConfig, SourceListing, list_source
from synfundus.fundus.sources.odir5k import labels_from_keywords as odir_labels
from synfundus.labels import DISEASES, LABEL_NAMES

ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
NO_DISEASE = dict.fromkeys(DISEASES, 0)
WIDE_COMMA = "\uff0c"
"""Full-width comma, which separates most keywords of ODIR-5K; written ~ below."""


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


# RFMiD

RFMID_HEADER = (
    "ID,Disease_Risk,DR,ARMD,MH,DN,MYA,BRVO,TSLN,ERM,LS,MS,CSR,ODC,CRVO,TV,AH,ODP,ODE,ST,AION,PT,RT,RS,CRS,EDN,RPEC,MHL,"
    "RP,CWS,CB,ODPM,PRH,MNF,HR,CRAO,TD,CME,PTCR,CF,VH,MCA,VS,BRAO,PLQ,HPED,CL"
)
RFMID_COLUMNS = RFMID_HEADER.split(",")
DENIED = {"dr_grade": 0, "is_amd": 0, "is_aon": 0, "is_crp": 0, "is_dm": 0, "is_em": 0, "is_pm": 0, "is_rvo": 0}
"""Labels of a photograph whose findings set no other label."""


def rfmid_table(*rows: dict[str, int]) -> str:
    lines = [",".join(RFMID_COLUMNS)]
    for number, row in enumerate(rows, start=1):
        cells = {"ID": number, "Disease_Risk": int(any(row.values())), **row}
        lines.append(",".join(str(cells.get(column, 0)) for column in RFMID_COLUMNS))
    return "\n".join(lines) + "\n"


def rfmid_row(tmp_path: Path, **findings: int) -> dict[str, int]:
    write(tmp_path, "Training_Set/RFMiD_Training_Labels.csv", rfmid_table(findings))
    put(tmp_path, "Training_Set/Training/1.png")
    return known(listing("rfmid", tmp_path).records[0].labels)


def test_rfmid_a_normal_photograph_has_no_disease(tmp_path: Path) -> None:
    assert rfmid_row(tmp_path) == NO_DISEASE | {"is_fundus": 1}


@pytest.mark.parametrize(
    ("finding", "changed", "open_"),
    [
        ("DR", {}, ["dr_grade"]),
        ("ARMD", {"is_amd": 1}, []),
        ("MYA", {}, ["is_dm", "is_pm"]),
        ("BRVO", {"is_rvo": 1}, []),
        ("CRVO", {"is_rvo": 1}, []),
        ("ERM", {"is_em": 1}, []),
        ("ODE", {"is_aon": 1}, []),
        ("ODC", {}, ["is_aon"]),
        ("CSR", {"is_crp": 1}, []),
        ("CB", {}, ["is_aon", "is_crp"]),
        ("HR", {}, []),  # haemorrhagic, not hypertensive
        ("CME", {}, []),  # cystoid, not necessarily diabetic
        ("MH", {}, []),  # media haze
    ],
)
def test_rfmid_findings_set_their_labels(
    tmp_path: Path, finding: str, changed: dict[str, int], open_: list[str]
) -> None:
    expected = {name: value for name, value in DENIED.items() if name not in open_} | changed | {"is_fundus": 1}
    assert rfmid_row(tmp_path, **{finding: 1}) == expected


def test_rfmid_a_certain_finding_overrides_an_uncertain_one(tmp_path: Path) -> None:
    assert rfmid_row(tmp_path, ODC=1, ODP=1)["is_aon"] == 1


@pytest.mark.parametrize(
    "folders",
    [
        ("Training_Set/", "Training_Set/Training", "Evaluation_Set/", "Evaluation_Set/Validation", "Test_Set/",
         "Test_Set/Test"),
        ("Training_Set/Training_Set/", "Training_Set/Training_Set/Training", "Evaluation_Set/Evaluation_Set/",
         "Evaluation_Set/Evaluation_Set/Validation", "Test_Set/Test_Set/", "Test_Set/Test_Set/Test"),
        ("2. Groundtruths/a. ", "1. Original Images/a. Training Set", "2. Groundtruths/b. ",
         "1. Original Images/b. Validation Set", "2. Groundtruths/c. ", "1. Original Images/c. Testing Set"),
    ],
    ids=["riadd", "kaggle", "dataport"],
)  # fmt: skip
def test_rfmid_sets_each_number_their_images_from_one(tmp_path: Path, folders: tuple[str, ...]) -> None:
    parts = (("Training", {"ARMD": 1}), ("Validation", {"ERM": 1}), ("Testing", {"BRVO": 1}))
    for place, (part, findings) in enumerate(parts):
        write(tmp_path, f"{folders[2 * place]}RFMiD_{part}_Labels.csv", rfmid_table(findings))
        put(tmp_path, f"{folders[2 * place + 1]}/1.png")
    result = listing("rfmid", tmp_path, keep_splits=True)
    seen = {r.split: [n for n in ("is_amd", "is_em", "is_rvo") if r.labels[n]] for r in result.records}
    assert seen == {"train": ["is_amd"], "validation": ["is_em"], "test": ["is_rvo"]}
    assert {r.split for r in listing("rfmid", tmp_path).records} == {None}


def test_a_wrong_rfmid_folder_is_named_with_its_fault(tmp_path: Path) -> None:
    with pytest.raises(WrongInputError, match=r"none of RFMiD_Training_Labels\.csv"):
        listing("rfmid", tmp_path)
    write(tmp_path, "RFMiD_Training_Labels.csv", rfmid_table({"DR": 2}))
    with pytest.raises(WrongInputError, match="no images of this table; put them into"):
        listing("rfmid", tmp_path)
    put(tmp_path, "Training/1.png")
    with pytest.raises(WrongInputError, match="row 2, column 'DR': '2' is not a known value; expected one of 0, 1"):
        listing("rfmid", tmp_path)
    write(tmp_path, "RFMiD_Training_Labels.csv", "ID,Disease_Risk,DR\n1,0,0\n")
    with pytest.raises(WrongInputError, match="no column 'ARMD'"):
        listing("rfmid", tmp_path)


# ODIR-5K

ODIR_COLUMNS = (
    "ID,Patient Age,Patient Sex,Left-Fundus,Right-Fundus,Left-Diagnostic Keywords,Right-Diagnostic Keywords,"
    "N,D,G,C,A,H,M,O"
)


def test_odir5k_rows_per_image_use_the_keywords_of_their_own_eye(tmp_path: Path) -> None:
    keywords = f"glaucoma{WIDE_COMMA}cataract,normal fundus"
    patient = f"294,69,Female,294_left.jpg,294_right.jpg,{keywords},0,0,1,1,0,0,0,0,../x.jpg,['G'],[0]"
    write(
        tmp_path,
        "full_df.csv",
        f"{ODIR_COLUMNS},filepath,labels,target,filename\n{patient},294_right.jpg\n{patient},294_left.jpg\n",
    )
    put(tmp_path, "preprocessed_images/294_left.jpg", "preprocessed_images/294_right.jpg")
    put(tmp_path, "preprocessed_images/295_right.jpg")
    result = listing("odir5k", tmp_path)
    assert by_name(result) == {
        "preprocessed_images/294_left.jpg": {"eye_side": 1, "is_gc": 1, "is_fundus": 1},
        # The patient's flag for glaucoma is set, but this eye has none.
        "preprocessed_images/294_right.jpg": NO_DISEASE | {"eye_side": 0, "is_fundus": 1},
        "preprocessed_images/295_right.jpg": {"eye_side": 0},
    }
    assert [r.patient_id for r in result.records] == ["odir5k:294", "odir5k:294", "odir5k:295"]


def test_odir5k_rows_per_patient_give_both_eyes(tmp_path: Path) -> None:
    write(
        tmp_path,
        "annotations.csv",
        f"{ODIR_COLUMNS}\n"
        '7,60,Male,7_left.jpg,7_right.jpg,"hypertensive retinopathy,diabetic retinopathy",no fundus image,'
        "0,1,0,0,0,1,0,0\n"
        "8,60,Male,8_left.jpg,8_right.jpg,anterior segment image,severe nonproliferative retinopathy,0,1,0,0,0,0,0,0\n",
    )
    put(tmp_path, *(f"Training Images/{n}.jpg" for n in ("7_left", "7_right", "8_left", "8_right")))
    result = listing("odir5k", tmp_path, csv="annotations.csv", images="Training Images")
    no_fundus = dict.fromkeys(LABEL_NAMES[12:], 0)
    assert by_name(result) == {
        "Training Images/7_left.jpg": {"eye_side": 1, "is_htr": 1, "is_fundus": 1},
        "Training Images/7_right.jpg": no_fundus,
        "Training Images/8_left.jpg": no_fundus,
        "Training Images/8_right.jpg": {"eye_side": 0, "dr_grade": 3, "is_fundus": 1},
    }


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ("mild nonproliferative retinopathy", {"dr_grade": 1}),
        ("moderate non proliferative retinopathy~severe nonproliferative retinopathy", {"dr_grade": 3}),
        ("severe proliferative diabetic retinopathy", {"dr_grade": 4}),
        ("diabetic retinopathy", {}),
        ("suspected moderate non proliferative retinopathy", {}),
        ("suspected glaucoma", {}),
        ("wet age-related macular degeneration~drusen", {"is_amd": 1}),
        ("maculopathy", {}),
        ("Epiretinal membrane over the macula, old central  retinal vein occlusion", {"is_em": 1, "is_rvo": 1}),
        ("pathological myopia~optic nerve atrophy", {"is_pm": 1, "is_aon": 1}),
        ("central serous chorioretinopathy", {"is_crp": 1}),
        ("optic disk epiretinal membrane", {}),
        ("a keyword of a later version", {}),
        ("lens dust~normal fundus", NO_DISEASE),
        ("normal fundus~laser spot", {}),
        ("low image quality", {}),
        ("optic disk photographically invisible~glaucoma", {"is_optic_disc_readable": 0, "is_gc": 1}),
    ],
)
def test_odir5k_keywords_set_their_labels(keywords: str, expected: dict[str, int]) -> None:
    assert known(odir_labels(keywords.replace("~", WIDE_COMMA))) == expected | {"is_fundus": 1}


def test_odir5k_an_invisible_disc_leaves_its_diseases_unknown() -> None:
    labels = odir_labels(f"normal fundus{WIDE_COMMA}optic disk photographically invisible")
    assert (labels["is_gc"], labels["is_aon"], labels["is_amd"], labels["is_optic_disc_readable"]) == (None, None, 0, 0)


def test_odir5k_an_eye_without_keywords_has_no_labels() -> None:
    assert known(odir_labels(" ")) == {}


def test_odir5k_an_image_of_another_row_is_refused(tmp_path: Path) -> None:
    row = "1,57,Male,1_left.jpg,1_right.jpg,normal fundus,normal fundus,1,0,0,0,0,0,0,0"
    write(tmp_path, "full_df.csv", f"{ODIR_COLUMNS},filename\n{row},2_left.jpg\n")
    put(tmp_path, "preprocessed_images/1_left.jpg")
    with pytest.raises(WrongInputError, match=r"row 2, column 'filename': '2_left\.jpg' is neither of the row's eyes"):
        listing("odir5k", tmp_path)
