"""The shared flags."""

import pytest
from absl import flags as absl_flags

from permafrost import flags
from permafrost.errors import UsageError, shown
from tests import in_process


@pytest.fixture
def values():
    def parse(*arguments):
        parsed = absl_flags.FlagValues()
        for name in ('run', 'graph', 'weights', 'results'):
            absl_flags.DEFINE_string(name, None, 'Help.', flag_values=parsed)
        absl_flags.DEFINE_integer('image_size', None, 'Help.', flag_values=parsed)
        absl_flags.DEFINE_integer('step', None, 'Help.', flag_values=parsed)
        parsed(['script'] + list(arguments))
        return parsed
    return parse


def test_a_frozen_graph_replaces_a_run(values):
    assert flags.uses_frozen_graph(values('--graph=a.pb', '--image_size=24'))
    assert not flags.uses_frozen_graph(values('--run=runs/tuto/1', '--step=3'))
    for arguments in (['--graph=a.pb', '--run=b'], ['--graph=a.pb', '--step=3'],
                      ['--graph=a.pb', '--weights=raw'], ['--image_size=24']):
        with pytest.raises(UsageError):
            flags.uses_frozen_graph(values(*arguments))


@pytest.mark.parametrize('name', ['run', 'patience', 'eval_epochs', 'save_steps', 'log_dir'])
def test_a_range_test_refuses_what_it_does_not_do(name):
    result = in_process.run('train.py', '--lr_range_test', f'--{name}=1')
    assert (result.code, result.stderr) == (
        2, f'error: --{name} has no effect with --lr_range_test: leave it out\n')


@pytest.mark.parametrize('script, argument, flag', [
    ('eval.py', 'RUN', 'run'), ('freeze_graph.py', 'RUN', 'run'), ('train.py', 'RUN', 'run'),
    ('train.py', 'tuto', 'model'), ('info.py', 'tuto', 'model'), ('info.py', 'a.pb', 'graph'),
    ('eval.py', 'a.onnx', 'graph'), ('eval.py', 'tuto', None), ('train.py', 'a.pb', None),
    ('train.py', 'tutu', None)])
def test_an_argument_is_answered_with_its_flag(script, argument, flag, tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    argument = argument.replace('RUN', str(tmp_path))
    result = in_process.run(script, argument)
    use = f'use --{flag} {argument}' if flag else (
        'image files follow --images' if script == 'eval.py' else 'flags begin with --')
    assert result.code == 2 and result.stderr.startswith(
        f"error: unexpected argument {shown(argument)}; {use}")
