"""Compare what the stages of a study need at once with the pods that the chart's values allow.

Ray waits forever for a worker that no pod has room for. helm/synfundus/templates/_capacity.tpl applies the same rule to
studies of the values, and a test compares both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synfundus.cluster.kube import JsonObject
from synfundus.errors import WrongInputError
from synfundus.resources import PoolResources, TrainingResources
from synfundus.study import Study
from synfundus.transfer.config import CellResources

SAMPLING_POOL = "sampling"
"""Pool of the stage `sample`; every other stage runs wherever there is room."""
SHARES = 10_000
"""Parts of a GPU that Ray distinguishes. Counting them avoids rounding: 1 - 0.8 < 0.2 in floating point."""


@dataclass(frozen=True)
class Demand:
    """Workers that one stage needs at once."""

    place: str
    """Place of the resources in the study, such as `samples.resources`."""
    count_key: str | None
    """Key below `place` that gives the number of workers; None for stages with one worker."""
    num_workers: int
    num_gpus: float
    """GPUs of one worker."""
    num_cpus: int
    """CPUs of one worker."""
    pool: str | None
    """Pool that the stage runs in; None for every pod."""


class _StartParams(BaseModel):
    """Resources of a pod as Ray schedules them."""

    model_config = ConfigDict(frozen=True)
    num_cpus: int = Field(alias="num-cpus")
    num_gpus: int = Field(default=0, alias="num-gpus")


class _Head(BaseModel):
    model_config = ConfigDict(frozen=True)
    params: _StartParams = Field(alias="rayStartParams")


class _Group(_Head):
    """A pool of workers."""

    name: str = Field(alias="groupName")
    max_pods: int = Field(alias="maxReplicas")


class _Cluster(BaseModel):
    model_config = ConfigDict(frozen=True)
    head: _Head = Field(alias="headGroupSpec")
    groups: tuple[_Group, ...] = Field(alias="workerGroupSpecs")


class _JobSpec(BaseModel):
    """The part of a RayJob's specification that is read here."""

    model_config = ConfigDict(frozen=True)
    cluster: _Cluster = Field(alias="rayClusterSpec")


def demands_of(study: Study) -> tuple[Demand, ...]:
    """Return what each stage of a study needs."""
    # `prepare` runs as many tasks at once as there is room for, up to its `pool_size`.
    prepare = Demand("data.prepare.resources", None, 1, study.data.prepare.resources.num_gpus, 1, None)
    evaluation = study.evaluation.resources
    return (
        *((prepare,) if study.data.prepared is None else ()),
        _of_training("annotator.resources", study.annotator.resources),
        _of_pool("fill.resources", study.fill.resources),
        _of_training("copy_detector.resources", study.copy_detector.resources),
        _of_training("generator.resources", study.generator.resources),
        _of_pool("samples.resources", study.samples.resources, SAMPLING_POOL),
        *(() if study.transfer is None else (demand_of_grid(study.transfer.resources),)),
        Demand("evaluation.resources", None, 1, evaluation.num_gpus, 1, None),
    )


def _of_pool(place: str, resources: PoolResources, pool: str | None = None) -> Demand:
    return Demand(place, "pool_size", resources.pool_size, resources.num_gpus, 1, pool)


def _of_training(place: str, resources: TrainingResources) -> Demand:
    """Return the workers of Ray Train, which take a CPU only without a GPU (`distributed/train.py: scaling`)."""
    num_cpus = 0 if resources.num_gpus else 1
    return Demand(place, "num_workers", resources.num_workers, resources.num_gpus, num_cpus, None)


def demand_of_grid(resources: CellResources) -> Demand:
    """Return what the stage `transfer` needs: a pool of cells, or Ray Train for cells with several workers."""
    place = "transfer.resources"
    if resources.num_workers > 1:
        return _of_training(place, resources)
    return Demand(place, "pool_size", resources.pool_size, resources.num_gpus, 1, None)


def require_capacity(study: Study, spec: JsonObject) -> None:
    """Refuse a study whose stages need more workers at once than the pods of a job can hold.

    Args:
        spec: specification of the RayJob, as the chart's template gives it.

    Raises:
        WrongInputError: a stage would wait, for some of its workers or for all.
    """
    try:
        cluster = _JobSpec.model_validate(spec).cluster
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise WrongInputError(f"template of jobs: {place}: {wrong['msg']}; upgrade the chart's release") from None
    for demand in demands_of(study):
        groups = [group for group in cluster.groups if demand.pool in (None, group.name)]
        pods = [(group.max_pods, group.params) for group in groups]
        pods += [] if demand.pool else [(1, cluster.head.params)]
        room = _room(demand, pods)
        if room < demand.num_workers:
            raise WrongInputError(_refusal(demand, room))


def _room(demand: Demand, pods: Sequence[tuple[int, _StartParams]]) -> int:
    """Return how many of the demand's workers fit into pods (number of pods, resources of each) at once."""
    gpu_shares = round(demand.num_gpus * SHARES)
    total = 0
    for num_pods, params in pods:
        limits = [params.num_cpus] if demand.num_cpus else []
        limits += [params.num_gpus * (SHARES // gpu_shares)] if gpu_shares else []
        total += num_pods * min(limits)
    return total


def _refusal(demand: Demand, room: int) -> str:
    """Return the message, which equals that of the chart."""
    cpus = [f"{demand.num_cpus} CPU"] if demand.num_cpus else []
    gpus = [f"{demand.num_gpus:g} GPU"] if demand.num_gpus else []
    where = f"the pool {demand.pool}" if demand.pool else "head and pools together"
    count = [demand.count_key] if demand.count_key else []
    lower = " or ".join([*count, *(["num_gpus"] if demand.num_gpus else [])])
    return (
        f"{demand.place}: needs {demand.num_workers} x ({' and '.join([*cpus, *gpus])}) at once, and {where} can hold"
        f" {room}; lower {lower}, or raise logicalCpus, gpus or maxWorkers in the chart's values"
    )
