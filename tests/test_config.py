"""Read recipes: strictly, with errors that help, and write them back unchanged."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songfoundry import config
from songfoundry.errors import ConfigError
from songfoundry.systems.separate import SeparateConfig


class Inner(config.Config):
    weight: float = 1.0
    pattern: str = "*"


class Outer(config.Config):
    name: str
    inner: Inner = Inner()
    many: list[Inner] = []
    maybe: Inner | None = None


GOOD = {"name": "a", "system": {"name": "separate"}, "data": {"name": "remix"}}


def test_values_are_typed_and_never_change():
    parsed = config.parse(Outer, {"name": "a", "inner": {"weight": 2}}, "here")
    assert parsed.inner.weight == 2.0 and isinstance(parsed.inner.weight, float)
    with pytest.raises(ValueError):
        parsed.name = "b"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"nam": "a", "name": "a"}, r"^here: expected a known key, found 'nam': did you mean 'name'\? known: inner, many,"),
        ({"name": "a", "inner": {"wieght": 1}}, r"found 'inner.wieght': did you mean 'weight'\? known: pattern, weight"),
        ({"name": "a", "many": [{}, {"patern": "x"}]}, r"found 'many.1.patern': did you mean 'pattern'\?"),
        ({"name": "a", "maybe": {"patern": "x"}}, r"found 'maybe.patern': did you mean 'pattern'\?"),
        ({}, r"^here: expected the key 'name', found none: add it, or name a file with the keys name, "),
        ({"name": "a", "inner": {"weight": "much"}}, r"expected 'inner.weight' to be right, found 'much': input should be"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_the_nearest_key(values, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        config.parse(Outer, values, "here")
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_of_a_system_names_the_nearest():
    with pytest.raises(ConfigError, match=r"\[system\]: expected a known key, found 'hop_lenght': did you mean 'hop_length'\?"):
        config.parse(SeparateConfig, {"hop_lenght": 3}, "[system]")


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("train.steps=100", ("train", "steps"), 100),
        ("train.rate=1e-4", ("train", "rate"), 1e-4),
        ("system.net=scnet", ("system", "net"), "scnet"),
        ('name="quoted = yes"', ("name",), "quoted = yes"),
        ("name=a=b", ("name",), "a=b"),
        ("data.on=true", ("data", "on"), True),
        ("system.stems=['a', 'b']", ("system", "stems"), ["a", "b"]),
        ("new.table.key=1", ("new", "table", "key"), 1),
    ],
)
def test_override_sets_one_value_on_a_copy(assignment, path, value):
    before = {**GOOD, "train": {"steps": 1, "batch": 4}}
    after = config.override(before, [assignment])
    place = after
    for key in path:
        place = place[key]
    assert place == value and type(place) is type(value)
    assert before == {**GOOD, "train": {"steps": 1, "batch": 4}}
    assert after["data"]["name"] == "remix"


def test_later_assignments_win():
    assert config.override({}, ["a.b=1", "a.b=2", "a.c=3"]) == {"a": {"b": 2, "c": 3}}


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("train.steps", "expected KEY.KEY=VALUE after --set, found 'train.steps': write for example train.steps=100"),
        ("name.deep=1", "expected a table at 'name' in --set 'name.deep=1', found a value"),
    ],
)
def test_an_assignment_that_cannot_be_is_refused(assignment, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.override(GOOD, [assignment])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name = ", "expected TOML in .*bad.toml, found a mistake .*: mend that line"),
        (b"\xff\xfe\x00", r"expected a TOML recipe at .*bad.toml, found none that can be read \(it is not UTF-8 text\)"),
        (b"name = 'a'\nstep = 3\n[system]\n[data]\n", "bad.toml: expected a known key, found 'step'"),
        (b"name = 'a'\n[system]\n", "bad.toml: expected the key 'data', found none: add it"),
    ],
)
def test_a_recipe_that_is_none_is_refused(tmp_path, content, sentence):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        config.recipe(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml, found none that can be read \(No such file or directory\)"):
        config.recipe(tmp_path / "none.toml")
    (tmp_path / "note-onehot.toml").write_text(config.to_toml(GOOD))
    with pytest.raises(ConfigError, match=r"did you mean .*note-onehot\.toml\?$"):
        config.recipe(tmp_path / "note_onehot.toml")


def test_a_recipe_reads_with_its_assignments(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(config.to_toml(GOOD))
    read = config.recipe(path, ["seed=7", "train.steps=3"])
    assert read.model_dump() == {**GOOD, "about": "", "seed": 7, "train": {"steps": 3}}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text("abcxyz_-0123456789", min_size=1, max_size=8) | TEXT
PLAIN = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), TEXT)
VALUES = st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.lists(st.lists(PLAIN, max_size=2), max_size=2))
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=4),
    lambda inner: st.dictionaries(KEYS, st.one_of(VALUES, inner, st.lists(inner, min_size=1, max_size=3)), max_size=4),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(TABLES)
def test_what_is_written_as_toml_reads_the_same(values):
    assert tomllib.loads(config.to_toml(values)) == values


def test_none_is_left_out_of_toml():
    assert tomllib.loads(config.to_toml({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}
