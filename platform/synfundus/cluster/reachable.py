"""Check that the pods of a cluster can reach every file that a study names."""

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.study import REAL_DATA_VARIABLE, Study, named_files


def require_reachable(study: Study, text: str) -> None:
    """Refuse a study with a root or a file that lies on this machine.

    Args:
        text: the study's file, with its overrides.

    Raises:
        WrongInputError: the root, a source or another file lies on this machine.
    """
    if not study.root.startswith("s3://"):
        raise WrongInputError(f"root: {study.root} is on this machine; pods need --set root=s3://BUCKET/PREFIX")
    real = Environment().real_data if REAL_DATA_VARIABLE in text else None
    for number, source in enumerate(study.data.sources):
        if source.layout == "phantom":
            continue
        path, key = source.path, f"data.sources.{number}.path"
        if "://" not in path:
            raise WrongInputError(
                f"{key}: {path} is on this machine; copy the photographs to S3, or prepare them here with the same root"
                " and name that dataset as data.prepared"
            )
        if real and path.startswith(real):
            raise WrongInputError(f"{key} uses {REAL_DATA_VARIABLE}, which pods do not have; write the path out")
    for key, file in named_files(study.model_dump(mode="json")).items():
        raise WrongInputError(
            f"{key}: {file} is on this machine; run that stage here with the same root, or omit the key"
        )
