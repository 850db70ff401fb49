"""Every reason, code, metric, field, budget, path and header stands in its page, with the facts that the code has."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest
from docpages import PAGES, ROOT, quoted, rows, section
from generate import line_fields

import penstock
from penstock.chat.lifecycle import Phase
from penstock.chat.reasons import Reason
from penstock.config.model import Config, Timeouts
from penstock.config.units import parse_duration
from penstock.errors import BackendGarbled, BackendRefused, Ended, PenstockError, StreamError
from penstock.policy.retry import may_try_next
from penstock.server.app import create_app
from penstock.service.daemon import Daemon

for module in pkgutil.walk_packages(penstock.__path__, "penstock."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)


def kinds(kind: type[PenstockError]) -> list[type[PenstockError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in kinds(below))]


def made(kind: type[PenstockError], code: str) -> PenstockError:
    if kind is Ended:
        return Ended("m", code)
    return BackendGarbled("m", "http") if kind is BackendGarbled else kind("m")


ERRORS = PAGES["docs/errors.md"]
REASONS = {row[0].strip("`"): row[1:] for row in rows(section(ERRORS, "Reasons"))}
#: Reason -> the errors that end a stream with it.
STREAM_ERRORS = {
    reason: [
        made(kind, reason)
        for kind in kinds(StreamError)
        if kind.code == reason or (kind is Ended and reason in ("preempted", "superseded", "killed", "shutdown"))
    ]
    for reason in Reason
}


def test_every_reason_has_a_row() -> None:
    assert list(REASONS) == list(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reasons_row_is_true(reason: Reason) -> None:
    status, blamed, onward, repeat, _ = REASONS[reason]
    errors = STREAM_ERRORS[reason]
    assert blamed == ("yes" if reason.blames_backend else "no")
    if reason is Reason.COMPLETED:
        assert (status, onward, repeat, errors) == ("200", "no", "–", [])
    elif reason is Reason.INTERNAL:
        assert (status, onward, repeat) == (str(PenstockError.status), "no", "–")
    elif reason is Reason.BACKEND_REFUSED:
        assert (status, onward) == ("the backend's", "some")
    else:
        assert {status} == {str(error.status) for error in errors}
        assert {onward == "yes"} == {may_try_next(error, content_sent=False) for error in errors}
        assert not any(may_try_next(error, content_sent=True) for error in errors)
        assert set(repeat.split(" / ")) == {
            f"{error.retry_after:g}" if error.retry_after else "no" if error.should_retry is False else "–"
            for error in errors
        }


def test_the_refusals_that_allow_the_next_target() -> None:
    told = re.search(r"a\s+5xx,\s+and\s+([\d,\s]+)\.", section(ERRORS, "Reasons"))
    assert told
    allowed = {
        status for status in range(400, 500) if may_try_next(BackendRefused("m", status=status), content_sent=False)
    }
    assert {int(status) for status in told[1].split(",")} == allowed
    assert ", ".join(map(str, sorted(allowed))) in PAGES["docs/streams.md"].replace("\n", " ")


def test_every_other_code_has_a_row_with_its_status() -> None:
    told = {
        row[0].strip("`"): int(row[1])
        for title in ("Codes of refused requests", "Codes that no client sees")
        for row in rows(section(ERRORS, title))
    }
    by_code = {kind.code: kind.status for kind in kinds(PenstockError) if kind.code not in {*Reason, "internal"}}
    assert told == by_code


def test_every_field_of_the_closing_line_has_a_row() -> None:
    text = section(PAGES["docs/metrics.md"], "The closing line")
    assert [row[0].strip("`") for row in rows(text)] == line_fields()
    shown = re.findall(r"(?<= )(?!in_)(\w+)=", "\n".join(line for line in text.splitlines() if line.startswith("    ")))
    assert shown
    assert shown == [field for field in line_fields() if field in shown]


def test_every_budget_has_a_row_with_its_default() -> None:
    text = PAGES["docs/timeouts.md"]
    table = rows(text[: text.index("\n## ")])
    assert [row[0].strip("`") for row in table] == list(Timeouts.__struct_fields__)
    for name, _, _, default, _, reason in table:
        wanted = getattr(Timeouts(), name.strip("`"))
        assert (None if default == "`off`" else parse_duration(default.strip("`"))) == wanted
        assert reason.strip("`") in set(Reason)


def test_the_fixed_times_are_the_codes() -> None:
    for name, told, _ in rows(section(PAGES["docs/timeouts.md"], "Fixed times")):
        module, _, constant = name.strip("`").rpartition(".")
        assert getattr(importlib.import_module(module), constant) == float(told), name


def test_every_phase_is_explained() -> None:
    assert [row[0].strip("`") for row in rows(section(PAGES["docs/streams.md"], "Phases"))] == list(Phase)


def test_every_path_is_listed_and_no_other() -> None:
    app = create_app(Daemon(Config()).state)
    served = {
        f"{method} " + re.sub(r"<(?:[a-z]+:)?([a-z]+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if method != "HEAD" or rule.methods == {"HEAD", "OPTIONS"}
    }
    listed = {word for row in rows(PAGES["docs/endpoints.md"]) for word in quoted(row[0]) if re.match("[A-Z]+ /", word)}
    assert listed == served


def test_every_header_of_ours_is_listed() -> None:
    code = "".join(path.read_text() for path in (ROOT / "daemon/penstock").rglob("*.py"))
    sent = set(re.findall(r'"(x-penstock-[a-z-]+)"', code))
    assert sent
    assert sent <= {row[0].strip("`") for row in rows(section(PAGES["docs/endpoints.md"], "Headers of an answer"))}
