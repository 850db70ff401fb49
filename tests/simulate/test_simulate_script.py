"""The grammar: text in, Script or one readable sentence out."""

from __future__ import annotations

import pytest

from penstock.simulate.faults import KINDS, Fault
from penstock.simulate.script import BadScript, Script, parameters, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Script()),
        ("sim:", Script()),
        ("tokens=200,rate=50", Script(tokens=200, rate=50.0)),
        ("sim:tokens=200, rate=0.5", Script(tokens=200, rate=0.5)),
        ("first=300ms,headers=2s,ping=1.5m,gap=1", Script(first=0.3, headers=2.0, ping=90.0, gap=1.0)),
        ("size=8M,width=1k", Script(size=8 * 2**20, width=1024)),
        ("size=100", Script(size=100)),
        ("http10", Script(http10=True)),
        ("http10=false", Script()),
        ("tools=2,tools-in=final,fragments=3", Script(tools=2, tools_in="final", fragments=3)),
        ("status=503,retry-after=2", Script(status=503, retry_after=2.0)),
        ("comment=keep alive,id=a=b", Script(comment="keep alive", id="a=b")),
        ("fault=silence@10", Script(fault=(Fault("silence", 10),))),
        ("fault=cut", Script(fault=(Fault("cut", 0),))),
        ("fault=garbage@3,fault=crlf", Script(fault=(Fault("garbage", 3), Fault("crlf")))),
    ],
)
def test_a_script_is_read(text: str, expected: Script) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokns=3", "unknown parameter 'tokns'; did you mean tokens"),
        ("retry_after=3", "unknown parameter 'retry_after'; did you mean retry-after?"),
        ("zzz=3", "unknown parameter 'zzz'; known are burst, comment,"),
        ("tokens", "parameter 'tokens' has no value; write tokens=…"),
        ("tokens=many", "parameter 'tokens': expected `int`, got `str`"),
        ("tokens=-1", "parameter 'tokens': expected `int` >= 0"),
        ("first=3y", "parameter 'first': expected a number, perhaps with one of ms, s, m, h; got '3y'"),
        ("size=8Q", "parameter 'size': expected a number, perhaps with one of k, M; got '8Q'"),
        ("size=5000M", "parameter 'size': expected `int` <= 1073741824"),
        ("status=200", "parameter 'status': expected `int` >= 400"),
        ("usage=never", "parameter 'usage': invalid enum value 'never'"),
        ("fault=silense@3", "unknown fault 'silense'; did you mean silence"),
        ("fault=", "unknown fault ''; known are"),
        ("fault=mute@3", "fault 'mute' concerns the whole answer; write it without @3"),
        ("fault=cut@x", "fault 'cut@x': after the @ stands the number of tokens before it"),
        ("fault=cut@", "fault 'cut@': after the @ stands the number of tokens before it"),
    ],
)
def test_a_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(BadScript) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


def test_placed_faults_come_in_their_order() -> None:
    script = parse("fault=cut@9,fault=crlf,fault=garbage@3")
    assert script.placed == [Fault("garbage", 3), Fault("cut", 9)]


def test_every_parameter_and_fault_is_described() -> None:
    assert all(line for _, line in parameters().values())
    assert all(kind.line for kind in KINDS.values())
