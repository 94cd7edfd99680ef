"""Schemas: what is accepted, what is refused in one line, and mutants of each file."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any, Dict, List, Optional, Tuple

import pytest

from permafrost import engines, schema
from permafrost.errors import UsageError, UserError
from permafrost.schema import limited
from tests import fuzz_json
from tests.processes import ROOT


@dataclasses.dataclass
class Part:
    """An object in an object."""
    name: str
    share: float = limited(minimum=0, below=1)


@dataclasses.dataclass
class Whole:
    """Has every kind of field."""
    count: int = limited(minimum=1, maximum=9)
    kind: str = limited(names=('one', 'two'))
    parts: Tuple[Part, ...] = ()
    sizes: List[int] = limited((), minimum=0, count=(0, 3))
    flag: bool = False
    text: Optional[str] = limited(None, count=(1, 5), test=str.isalpha, meaning='a few letters')
    shares: Dict[str, float] = limited((), maximum=1)
    renamed: int = limited(0, earlier='old')
    computed: Any = dataclasses.field(default=0, compare=False)


GOOD: Dict[str, Any] = {'count': 3, 'kind': 'one'}


@pytest.mark.parametrize('more', [
    {}, {'parts': [{'name': 'a', 'share': 0.5}, {'name': '', 'share': 0}]}, {'sizes': [1, 2, 3]},
    {'flag': True}, {'text': 'abc'}, {'text': None}, {'shares': {'a': 1}}, {'renamed': 7}])
def test_what_fits_is_returned_as_it_is(more):
    assert schema.check(dict(GOOD, **more), Whole) == dict(GOOD, **more)


@pytest.mark.parametrize('more, message', [
    ({'count': 0}, 'count must be a whole number from 1 to 9, not 0'),
    ({'count': 10**39}, 'count must be a whole number from 1 to 9, not 1000'),
    ({'count': 3.}, 'count must be a whole number from 1 to 9, not 3.0'),
    ({'count': True}, 'count must be a whole number from 1 to 9, not true'),
    ({'count': '3'}, "count must be a whole number from 1 to 9, not '3'"),
    ({'count': None}, 'count must be a whole number from 1 to 9, not null'),
    ({'kind': 'tow'}, "unknown kind 'tow'; did you mean two? (choose from: one, two)"),
    ({'kind': ['one']}, "kind must be text of 0 to 1000000 characters, not ['one']"),
    ({'parts': {}}, 'parts must be a list of 0 to 1000000 items, not {}'),
    ({'parts': [{'name': 'a', 'share': 0}, 3]}, 'parts[1] must be an object'),
    ({'parts': [{'name': 'a'}]}, 'parts[0].share is missing'),
    ({'parts': [{'name': 'a', 'share': 1}]}, 'parts[0].share must be a number from 0 to below 1'),
    ({'parts': [{'name': 'a', 'share': float('nan')}]}, 'parts[0].share must be a number'),
    ({'shares': {'a': float('-inf')}}, 'shares.a must be a number'),
    ({'shares': {'\x1b[31m': 2}}, r'shares.\x1b[31m must be a number'),
    ({'sizes': [1, 2, 3, 4]}, 'sizes must be a list of 0 to 3 items, not [1, 2, 3, 4]'),
    ({'sizes': [1, -2]}, 'sizes[1] must be a whole number'),
    ({'flag': 1}, 'flag must be true or false, not 1'),
    ({'text': 'a1'}, "text must be a few letters, not 'a1'"),
    ({'text': 'abcdef'}, "text must be a few letters, not 'abcdef'"),
    ({'text': 'a\0'}, r"text must be a few letters, not 'a\x00'"),
    ({'text': '\ud800'}, r"text must be a few letters, not '\ud800'")])
def test_what_does_not_fit_is_named(more, message):
    with pytest.raises(UsageError) as error:
        schema.check(dict(GOOD, **more), Whole)
    assert message in str(error.value) and str(error.value).isprintable()


def test_a_long_or_deep_value_is_shortened():
    deep: Any = []
    for _ in range(100000):
        deep = [deep]
    for value in ('\n' * 10**6, deep, [0] * 10**6, {str(i): i for i in range(10**5)}):
        with pytest.raises(UsageError) as error:
            schema.check(dict(GOOD, count=value), Whole)
        assert len(str(error.value)) < 200 and str(error.value).isprintable()
    while deep:  # or else Python's own stack overflows when it frees the value
        deep = deep.pop()


def test_other_fields_are_left_out_or_refused():
    assert schema.check(dict(GOOD, more=3, computed=4), Whole) == GOOD
    with pytest.raises(UsageError, match='in.more is a field that this version does not know'):
        schema.check(dict(GOOD, more=3), Whole, 'in', closed=True)


def test_an_earlier_name_of_a_field_is_read():
    assert schema.check(dict(GOOD, old=5), Whole) == dict(GOOD, renamed=5)
    assert schema.check(dict(GOOD, old=5, renamed=6), Whole) == dict(GOOD, renamed=6)
    with pytest.raises(UsageError, match="old must be a whole number, not 'x'"):
        schema.check(dict(GOOD, old='x'), Whole)


def test_a_file_is_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / 'whole.json'
    path.write_text(json.dumps(GOOD))
    assert schema.read(str(path), Whole, 'fix it') == GOOD
    path.write_text('{"count": 3}')
    with pytest.raises(UserError, match=r'whole.json is damaged \(kind is missing\): fix it$'):
        schema.read(str(path), Whole, 'fix it')
    with pytest.raises(FileNotFoundError):
        schema.read(str(tmp_path / 'none'), Whole, 'fix it')


@pytest.mark.parametrize('damage', [
    lambda path: path.write_text('{"count": 3}'), lambda path: path.write_text('{'),
    lambda path: os.mkfifo(str(path)), lambda path: path.mkdir()])
def test_what_is_not_needed_is_passed_over_with_one_note(tmp_path, capsys, damage):
    path = tmp_path / 'whole.json'
    assert schema.read_if_valid(str(path), Whole, {}) == {}
    assert capsys.readouterr().out == ''
    damage(path)
    for _ in range(3):
        assert schema.read_if_valid(str(path), Whole, {}) == {}
    out, output = capsys.readouterr()
    assert out == '' and output.startswith(f'note: {path}') and output.count('\n') == 1


# Mutants


@pytest.mark.parametrize('name', fuzz_json.FILES)
def test_mutants_are_read_rightly_or_refused_in_one_line(name, tmp_path):
    fuzz_json.fuzz(name, 150, 7, str(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(engines.installed() != 'tf2', reason='reads json: one engine is enough')
@pytest.mark.parametrize('name', fuzz_json.FILES)
def test_five_hundred_mutants(name):
    done = subprocess.run([sys.executable, '-m', 'tests.fuzz_json', name, '500'], cwd=ROOT,
                          stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0
    figures = json.loads(done.stdout)
    assert figures['accepted'] + figures['refused'] == 500 and figures['MB'] < 1000
