"""The wording of measures for people, in the report, on the dataset card and on the screen."""

from synfundus.measures.judge_metrics import IndependentJudge, Judge
from synfundus.measures.measure import Measure

RESEARCH_ONLY = "Research use only. Not a medical device."
NOT_MEASURABLE = "not measurable"


def format_number(value: float) -> str:
    """Return a number for a table: three decimals below 10, fewer above, significant digits below 0.01."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01 or size == 0:
        return f"{value:.3f}"
    return f"{value:.2g}"


def format_measure(measure: Measure) -> str:
    """Return `0.912 (0.880 to 0.940)`, or `not measurable`."""
    if not measure.measurable:
        return NOT_MEASURABLE
    value, low, high = map(format_number, measure.interval)
    return f"{value} ({low} to {high})"


def with_reason(measure: Measure) -> str:
    """Return `0.912 (0.880 to 0.940)`, or `not measurable: ` with the reason."""
    return format_measure(measure) if measure.measurable else f"{NOT_MEASURABLE}: {measure.reason}"


def format_p(p_value: float | None) -> str:
    """Return `0.034`, `below 0.001`, or nothing."""
    if p_value is None:
        return ""
    return "below 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def describe_judge(judge: Judge) -> str:
    """Return in two sentences who grades the samples."""
    if isinstance(judge, IndependentJudge):
        return (
            f"An independent judge ({judge.architecture}) graded {judge.num_samples} samples. It was trained on"
            f" {judge.num_images} photographs of {judge.num_patients} patients, whom neither annotator nor generator"
            " was trained on."
        )
    return (
        f"Judge and teacher are one, because {judge.reason}. The annotator, which filled labels for the generator, also"
        " grades the samples, so errors that both share count as agreement."
    )


def grader_name(judge: Judge) -> str:
    """Return the word for the model that grades the samples."""
    return "judge" if isinstance(judge, IndependentJudge) else "annotator"
