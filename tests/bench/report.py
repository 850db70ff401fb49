"""The run as Markdown: what must be reached, then every figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .load import Figures
from .scenarios import MUSTS, SCENARIOS, Column, Must, Results, Scenario
from .targets import TARGETS

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


@dataclass(frozen=True)
class Verdict:
    must: Must
    values: Sequence[float]  #: empty: not measured in this run
    at: str = ""  #: the variant that decides, where one does

    @property
    def value(self) -> float:
        if not self.must.worst and not self.must.each:
            return median(self.values)
        return min(self.values) if self.must.at_least else max(self.values)

    @property
    def word(self) -> str:
        if not self.values:
            return "not measured"
        return "met" if self.must.met(self.value) else "**missed**"


def judge(must: Must, results: Results) -> Verdict:
    """The figure of each repeat; where it is a comparison, with the yardstick in the same repeat."""
    values: list[float] = []
    variants: list[str] = []
    for (variant, target), repeats in results.items():
        if target == must.target.name:
            others = repeats if must.beside is None else results.get((variant, must.beside.name), ())
            found = [must.value(own, other) for own, other in zip(repeats, others, strict=False)]
            values += [median(found)] if must.each else found
            variants.append(variant)
    at = variants[values.index(max(values))] if must.each and values else ""
    return Verdict(must, values, at)


def judge_all(results: Mapping[str, Results]) -> list[Verdict]:
    return [judge(must, results.get(must.letter, {})) for must in MUSTS]


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and what the repeats ranged over."""
    if not values:
        return "–"
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} [{min(values):,.{digits}f}..{max(values):,.{digits}f}]"


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def musts(verdicts: Iterable[Verdict]) -> Iterator[str]:
    yield row(("", "figure", "must be", "measured", "verdict"))
    yield row(("---",) * 5)
    for verdict in verdicts:
        must = verdict.must
        bound = f"{'≥' if must.at_least else '≤'} {must.limit:g} {must.unit}"
        if (must.worst or must.each) and verdict.values:
            measured = f"{verdict.value:,.{must.digits}f}{f' ({verdict.at})' if verdict.at else ''}"
        else:
            measured = spread(verdict.values, must.digits)
        yield row((must.letter, must.text, bound, measured, verdict.word))


def figures(scenario: Scenario, results: Results) -> Iterator[str]:
    yield f"**{scenario.letter}: {scenario.title}**"
    yield ""
    variants = list(dict.fromkeys(variant for variant, _ in results))
    named = variants != [""]
    yield row((*((scenario.variants_head,) if named else ()), "target", *(column.head for column in scenario.columns)))
    yield row(("---",) * (1 + named) + ("---:",) * len(scenario.columns))
    for (variant, name), repeats in results.items():
        cells = [cell(column, repeats) for column in scenario.columns]
        yield row((*((variant,) if named else ()), scenario.label(TARGETS[name]), *cells))
    yield ""


def cell(column: Column, repeats: Sequence[Figures]) -> str:
    return spread([one[column.key] / column.divisor for one in repeats if column.key in one], column.digits)


def render(results: Mapping[str, Results], machine: str, mood: str) -> str:
    """Everything between the markers."""
    verdicts = [verdict for verdict in judge_all(results) if verdict.must.letter in results]
    lines = [f"Machine: {machine}.", "", f"Run: {mood}", "", *musts(verdicts), ""]
    for letter, measured in results.items():
        lines += figures(SCENARIOS[letter], measured)
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Replace what lies between the markers."""
    page = path.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text.rstrip()}\n{END}{after}")
