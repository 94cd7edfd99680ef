"""Study: the settings that its runs share, the values to try and the seeds; its file study.json."""

import dataclasses
import os
import re
import urllib.parse
from typing import Any, Dict, Tuple

from absl import flags

from permafrost import files, runs, schema
from permafrost.cli.commands import ROOT
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, printable, shown, unknown_name_error
from permafrost.experiments.sweeps import exports
from permafrost.flags import explicitly_set
from permafrost.recipes import overrides
from permafrost.recipes.recipe import PLAIN_NAME
from permafrost.schema import limited

# The flags defined below belong to sweep.py: its --help lists them.
flags.disclaim_key_flags()

METHODS = ('one_at_a_time', 'grid', 'random', 'search')
# The study decides these itself.
REFUSED = {'run': 'the runs are in STUDY/runs', 'log_dir': 'name the directory STUDY',
           'resume': 'a study always continues', 'seed': 'use --seeds'}
# Names of the settings: the flags of train.py that decide what is trained, and how.
SETTINGS = ({field.name for field in dataclasses.fields(Config)} | set(overrides.FIELDS)) - {
    'seed', 'statistics', 'earlier_compute_dtype', 'average_statistics'}
# A flag of these begins a study; the others say how to train one.
CHOICES = {'vary', 'seeds', 'grid', 'random', 'search', 'set', *SETTINGS, *REFUSED} - {
    'dataset', 'data_dir'}
VALIDATION = 5000  # images held out by default, because a study is there to choose by accuracy
MAX_COUNT, MAX_SEEDS = 100000, 1000  # of a study
FIX = 'correct it, or remove it'
# The user and the password of a URL: up to the first @, as SQLAlchemy reads it. What follows a host
# may look like that: host:5432/name?options=a@b
USER = re.compile(r'([^:/?]*)(:(?!\d+/[^@]*[?])[^@]*)?@').match
Settings = Dict[str, str]  # {name: value as the command line has it}


@dataclasses.dataclass(frozen=True)
class Study:
    """The fields of study.json."""
    description: str = ''
    base: Dict[str, Any] = dataclasses.field(default_factory=dict)  # {setting: value}
    vary: Dict[str, Tuple[Any, ...]] = dataclasses.field(default_factory=dict)  # {setting: values}
    # {name: settings}: changes of several settings at once; `export`: see exports
    variants: Dict[str, Dict[str, Any]] = dataclasses.field(default_factory=dict)
    method: str = limited('one_at_a_time', names=METHODS)
    count: int = limited(0, minimum=0, maximum=MAX_COUNT)  # variants of random, trials of search
    seeds: Tuple[int, ...] = limited((1,), minimum=0, count=(1, MAX_SEEDS))
    storage: str = ''  # URL of a search's database without its password; '': a file in STUDY

    def check(self) -> 'Study':
        """Return the study, with its values as text. Raises UsageError."""
        exported = list(self.vary.get(exports.SETTING, ()))
        exported += [each[exports.SETTING] for each in self.variants.values()
                     if exports.SETTING in each]
        for value in exported:
            exports.check(to_text(value))
        varied = [name for each in (self.vary, *self.variants.values()) for name in each]
        for name in [*self.base, *(each for each in varied if each != exports.SETTING)]:
            _check_setting(name)
        for name in self.variants:
            if not PLAIN_NAME(name) or name == 'baseline':
                raise UsageError(f'variant {name!r} needs another name: letters, digits, _ and -')
        for name, values in self.vary.items():
            if not values:
                raise UsageError(f'vary.{name} has no values')
        if len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f'seeds {list(self.seeds)}: one appears twice')
        if self.method in ('random', 'search'):
            if exports.SETTING in self.vary:
                raise UsageError(f'--{self.method} chooses what is trained: leave '
                                 f'{exports.SETTING} out')
            if not self.vary or self.variants:
                raise UsageError(f'--{self.method} draws from the values of --vary, and from no '
                                 'other variants: give at least one --vary')
            if not self.count:
                raise UsageError(f'--{self.method} needs a number of at least 1')
        return dataclasses.replace(
            self, base=_texts(self.base), variants={k: _texts(v) for k, v in self.variants.items()},
            vary={name: tuple(map(to_text, each)) for name, each in self.vary.items()})


def define_flags() -> None:
    """Define the flags of sweep.py that train.py does not have."""
    flags.DEFINE_multi_string('vary', [], 'Values to try: SETTING=VALUE,VALUE,... with | between '
                              'values that have commas. SETTING is a flag of train.py. --random '
                              'and --search also take ranges: 0.8..0.99, log:0.01..1. Without '
                              '--grid, --random and --search: the baseline, and each value alone')
    flags.DEFINE_bool('grid', False, 'Train all combinations of the values.')
    flags.DEFINE_integer('random', None, 'Train N combinations drawn at random.', 1,
                         MAX_COUNT)
    flags.DEFINE_integer('search', None, 'Train N combinations that Optuna chooses by validation '
                         'accuracy; stop bad ones early.', 1, MAX_COUNT)
    flags.DEFINE_string('storage', None, 'With --search: URL of a database that several machines '
                        'share, such as postgresql://user@host/name. Default: a file in STUDY.')
    flags.DEFINE_integer('seeds', None, 'Train each variant with the seeds 1 to N. Default: 1.', 1,
                         MAX_SEEDS)
    flags.DEFINE_integer('parallel', 1, 'Number of trainings at once; they share the cores.', 1)
    flags.DEFINE_bool('dry_run', False, 'List the runs and their estimated time; train '
                      'nothing. A speed that no run has recorded is measured now.')
    flags.DEFINE_string('template', None, 'Start from a study file, such as studies/tutorial.json.')


def run_directory(folder: str, variant: str, seed: int) -> str:
    """Return the directory of a run of the study in `folder`."""
    return os.path.join(folder, 'runs', files.safe_name(variant), f'seed{seed}')


def to_text(value: Any) -> str:
    """Return a setting from json as the command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ','.join(map(to_text, value))
    if isinstance(value, (str, int, float)):
        return str(value)
    raise UsageError(f'a setting must be text, a number, true, false or a list, not {shown(value)}')


def _texts(settings: Dict[str, Any]) -> Settings:
    return {name: to_text(value) for name, value in settings.items()}


def _check_setting(name: str) -> None:
    if name in SETTINGS:
        return
    meant = overrides.field_meant(name)
    if meant:
        raise UsageError(f'unknown setting {name!r}; did you mean {meant}?')
    if name in (*REFUSED, 'set'):
        raise UsageError(f'{name} is not a setting of a study: '
                         f'{REFUSED.get(name, "name the field")}')
    raise unknown_name_error('setting', name, SETTINGS)


def path_of(folder: str) -> str:
    """Return the path of the study's file."""
    return os.path.join(folder, 'study.json')


def read(path: str) -> Study:
    """Return the study of a file. Raises UserError, in a line, if it is missing or wrong."""
    try:
        fields: Any = schema.check(schema.read(path, Dict[str, Any], FIX), Study, closed=True)
        return Study(**{**fields, 'seeds': tuple(fields.get('seeds', (1,)))}).check()
    except OSError as error:
        raise UserError(f'{printable(path)}: {error.strerror}') from None
    except UsageError as error:
        raise UserError(f'{printable(path)} is damaged ({error}): {FIX}') from None


def _find(path: str) -> str:
    """Return the path of a template: `path`, or if there is none, that of a ready study."""
    ready = os.path.join(ROOT, path)
    return ready if os.path.exists(ready) and not os.path.exists(path) else path


def write(folder: str, study: Study) -> None:
    """Write study.json, unless it says the same already."""
    path = path_of(folder)
    if not os.path.exists(path) or read(path) != study:
        files.make_folder(folder)
        value = {name: value for name, value in dataclasses.asdict(study).items()
                 if value != getattr(Study(), name) or name in ('method', 'seeds')}
        files.write_json(path, value)


def from_flags(values: Any, folder: str) -> Study:
    """Return the study in `folder`, or a new one, with the changes of the flags (absl FlagValues).

    Raises UserError.
    """
    before = read(path_of(folder)) if os.path.exists(path_of(folder)) else None
    if before and not values.template:
        study = before
    elif os.path.isfile(folder):
        raise UsageError(f'{printable(folder)} is a file: name a directory for the runs, and use '
                         '--template for a study file')
    elif runs.exists(folder) or runs.list_runs(folder):
        raise UsageError(f'{printable(folder)} holds a run: name a new directory for the study')
    elif not values.template and not CHOICES & set(explicitly_set(values)):
        raise UsageError(f'no study in {printable(folder)}: to begin one, say what to train with '
                         '--model, --vary or --template')
    else:
        study = read(_find(values.template)) if values.template else Study()
        study.base.setdefault('validation', str(VALIDATION))
    vary = dict(map(_parse_vary, values.vary))
    if len(vary) < len(values.vary):
        raise UsageError('--vary names a setting twice: give all its values at once')
    changes: Dict[str, Any] = {'base': {**study.base, **_base_from_flags(values)},
                               'vary': {**study.vary, **vary}}
    changes.update(_method_from_flags(values))
    if values.seeds:
        changes['seeds'] = tuple(range(1, values.seeds + 1))
    if values.storage:
        changes['storage'] = without_password(values.storage)
    changed = dataclasses.replace(study, **changes).check()
    if values.storage and changed.method != 'search':
        raise UsageError('--storage is the database of a search: add --search N, or leave it out')
    if values.template and before not in (None, changed):
        raise UsageError(f'{printable(path_of(folder))} exists, and is another study: edit it, or '
                         'leave --template out')
    return changed


def _method_from_flags(values: Any) -> Dict[str, Any]:
    """Return the fields that --grid, --random or --search change, if one is given."""
    given = [name for name in ('grid', 'random', 'search')
             if values[name].present and values[name].value]
    if len(given) > 1:
        names = ', '.join(f'--{name}' for name in given[:-1]) + f' and --{given[-1]}'
        raise UsageError(f'{names} choose the runs in different ways: give one of them')
    return {field: value for name in given for field, value in
            (('method', name), ('count', 0 if name == 'grid' else values[name].value))}


def _base_from_flags(values: Any) -> Settings:
    """Return the settings of train.py's flags on the command line."""
    given = explicitly_set(values)
    for name in given:
        if name in REFUSED:
            raise UsageError(f'--{name} is not for a study: {REFUSED[name]}')
    base = dict(map(overrides.split_setting, overrides.changes_from_flags(values)))
    base.update({name: to_text(values[name].value) for name in given
                 if name in SETTINGS and name not in base})
    return base


def _parse_vary(text: str) -> Tuple[str, Tuple[str, ...]]:
    """Return the setting and the values of `name=value,...` or `name=value|...`."""
    name, equals, rest = text.partition('=')
    values = tuple(filter(None, rest.split('|' if '|' in rest else ',')))
    if not equals or not values:
        raise UsageError(f'--vary {text!r} must be SETTING=VALUE,VALUE,... (or | between values '
                         'that have commas)')
    return name, values


def without_password(url: str) -> str:
    """Return the URL of a database without the password, which does not belong in a file."""
    scheme, mark, rest = url.partition('://')
    user = USER(rest)
    place, _, query = rest[user.end() if user else 0:].partition('?')
    if user and user.group(2):
        place = place.rpartition('@')[2]  # the password has an @ that should be %40
    kept = '&'.join(each for each in query.split('&')
                    if 'pass' not in urllib.parse.unquote(each.partition('=')[0]).lower())
    return ''.join([scheme, mark, f'{user.group(1)}@' if user else '', place,
                    f'?{kept}' if kept else ''])
