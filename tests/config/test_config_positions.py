from __future__ import annotations

import re
from collections.abc import Iterator

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.faults import quoted
from penstock.config.positions import Path, line_and_column, locate, mentions

# --- by hand ---------------------------------------------------------------------------------------------------------

TEXT = '''\
# [not.a.table]
[server]
listen = [ "a",
  "b", # ]
]
text = """
[no] drain = 1
\\""""""
"quo\\u0074ed".'single' = { x = 1, y.z = [ 2, { w = 3 } ] }

[[list]]
a = 1
[list.inner]
b = 1979-05-27 07:32:00
[[list]]
a = """"two"""""
'''

PLACES = {
    ("server",): "2:2 2:2",
    ("server", "listen"): "3:1 3:10",
    ("server", "listen", 0): "3:12 3:12",
    ("server", "listen", 1): "4:3 4:3",
    ("server", "text"): "6:1 6:8",
    ("server", "quoted"): "9:1 9:1",
    ("server", "quoted", "single"): "9:15 9:26",
    ("server", "quoted", "single", "x"): "9:28 9:32",
    ("server", "quoted", "single", "y"): "9:35 9:35",
    ("server", "quoted", "single", "y", "z"): "9:37 9:41",
    ("server", "quoted", "single", "y", "z", 0): "9:43 9:43",
    ("server", "quoted", "single", "y", "z", 1): "9:46 9:46",
    ("server", "quoted", "single", "y", "z", 1, "w"): "9:48 9:52",
    ("list",): "11:3 11:3",
    ("list", 0): "11:3 11:3",
    ("list", 0, "a"): "12:1 12:5",
    ("list", 0, "inner"): "13:7 13:7",
    ("list", 0, "inner", "b"): "14:1 14:5",
    ("list", 1): "15:3 15:3",
    ("list", 1, "a"): "16:1 16:5",
}


def test_every_key_and_value_has_its_place() -> None:
    tomli.loads(TEXT)
    found = {
        path: "{}:{} {}:{}".format(*line_and_column(TEXT, mention.key), *line_and_column(TEXT, mention.value))
        for path, mention in locate(TEXT).items()
    }
    assert found == PLACES


def test_the_first_mention_of_a_table_counts() -> None:
    assert locate("[a.b]\n[a]\n")[("a",)].key == 1
    assert [mention.path for mention in mentions("[a.b]\n[a]\n")] == [("a",), ("a", "b"), ("a",)]


def test_a_text_that_breaks_off_is_told_up_to_there() -> None:
    whole = mentions(TEXT)
    for end in range(len(TEXT)):
        cut = mentions(TEXT[:end])
        # The last key may itself be cut.
        sure = [mention for mention in cut if mention.key < cut[-1].key]
        assert sure == whole[: len(sure)]


@given(st.text(alphabet="[]{}=.,#\"'\\ab1 \n\t", max_size=40))
def test_no_text_confuses_it_into_an_error_or_a_place_outside(text: str) -> None:
    assert all(0 <= mention.key <= mention.value <= len(text) for mention in mentions(text))


def test_nesting_that_is_too_deep_ends_the_scan() -> None:
    assert mentions("a = " + "[" * 5000)[0].path == ("a",)


# --- against generated TOML, whose writer notes where it puts what ---------------------------------------------------

NAMES = st.text(max_size=4) | st.sampled_from(["a", "b-1", "c.d"])
BLANKS = st.sampled_from(["", " ", "\t "])
GAPS = st.sampled_from(["", " ", "\n", " # ] } a = [\n\t", "\n\n"])
SCALARS = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        "inf",
        "1979-05-27 07:32:00Z",
        '""',
        "''",
        '"a \\" # ] }, \\\\"',
        "'\\ # ] \"'",
        '"""\n[x]\na = 1 # "" \\""""""',
        "'''\n[x]\n''a = 1'''''",
        '""""""',
    ]
)


class Page:
    """TOML in the writing, and where its keys and values stand."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.places: dict[Path, tuple[int, int]] = {}

    def write(self, text: str) -> None:
        self.text += text

    def note(self, path: Path, key: int, value: int | None = None) -> None:
        self.places.setdefault(path, (key, key if value is None else value))

    def names(self, least: int = 1) -> Iterator[str]:
        yield from self.draw(st.lists(NAMES, min_size=least, max_size=3, unique=True))

    def key(self, name: str) -> int:
        """Write one key in one of its forms; returns where."""
        at = len(self.text)
        forms = [quoted(name)]
        if re.fullmatch("[A-Za-z0-9_-]+", name):
            forms.append(name)
        if name.isprintable() and "'" not in name:
            forms.append(f"'{name}'")
        self.write(self.draw(st.sampled_from(forms)))
        return at

    def dotted(self, path: Path) -> tuple[Path, int]:
        """Write a key of one to three names; returns the path and where the last one stands."""
        parts = list(self.names())
        for part in parts[:-1]:
            path = (*path, part)
            self.note(path, self.key(part))
            self.write(self.draw(BLANKS) + "." + self.draw(BLANKS))
        return (*path, parts[-1]), self.key(parts[-1])

    def pair(self, path: Path, name: str, depth: int) -> None:
        # The first name is new in its table, so that no dotted key meets another.
        at = self.key(name)
        path = (*path, name)
        if self.draw(st.booleans()):
            self.note(path, at)
            self.write(" .")
            path, at = self.dotted(path)
        self.write(self.draw(BLANKS) + "=" + self.draw(BLANKS))
        self.note(path, at, len(self.text))
        self.value(path, depth)

    def value(self, path: Path, depth: int) -> None:
        match self.draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"])):
            case "scalar":
                self.write(self.draw(SCALARS))
            case "array":
                self.write("[" + self.draw(GAPS))
                for item in range(self.draw(st.integers(0, 3))):
                    self.write(("," if item else "") + self.draw(GAPS))
                    self.note((*path, item), len(self.text))
                    self.value((*path, item), depth - 1)
                    self.write(self.draw(GAPS))
                self.write("]")
            case "table":
                self.write("{" + self.draw(BLANKS))
                for item, name in enumerate(self.names(0)):
                    self.write(("," if item else "") + self.draw(BLANKS))
                    self.pair(path, name, depth - 1)
                    self.write(self.draw(BLANKS))
                self.write("}")

    def body(self, path: Path) -> None:
        for name in self.names(0):
            self.write(self.draw(GAPS))
            self.pair(path, name, 2)
            self.write(self.draw(st.sampled_from(["\n", " # =\n"])))

    def table(self, name: str) -> None:
        """A header of one or two names, or an array of tables with a table below its last item."""
        if self.draw(st.booleans()):
            self.write("[")
            self.note((name,), self.key(name))
            self.write(" . ")
            path, at = self.dotted((name,))
            self.note(path, at)
            self.write("]\n")
            self.body(path)
            return
        for item in range(self.draw(st.integers(1, 3))):
            self.write("[[ ")
            at = self.key(name)
            self.note((name,), at)
            self.note((name, item), at)
            self.write(" ]]\n")
            self.body((name, item))
        self.write("[")
        self.key(name)
        self.write(".")
        self.note((name, item, "\0below"), self.key("\0below"))
        self.write("]\n")
        self.body((name, item, "\0below"))


@st.composite
def pages(draw: st.DrawFn) -> Page:
    page = Page(draw)
    used = list(page.names(0))
    for name in used:
        page.pair((), name, 2)
        page.write("\n")
    for name in page.names(0):
        if name not in used:
            page.table(name)
    return page


@settings(deadline=None)
@given(pages())
def test_every_place_of_generated_toml_is_found(page: Page) -> None:
    tomli.loads(page.text)
    assert {path: (mention.key, mention.value) for path, mention in locate(page.text).items()} == page.places
