"""Clusters on this host: the tasks' command lines, and the tools that run them."""

import re
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

from permafrost import engines
from permafrost.cluster import local_cluster
from permafrost.training.checkpoints import finding
from tests import in_process, processes
from tests.cli.test_child_process import is_alive
from tests.cluster import helpers

PRINT_TASK = ('import os, sys; print(sys.argv[2:], os.environ["TF_CONFIG"]); '
              'print("step 3/9 loss 1\\nstep 5/9 loss 1")')
STOP_TASK = '''
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('stopped', time.monotonic()) or 3))
print('ready', flush=True)
time.sleep(600)
'''
PARENT = '''
import sys, time
sys.path.insert(0, {root!r})
from permafrost.cluster import local_cluster
cluster = local_cluster.LocalCluster(1, 1, [], prefix=lambda name: [
    sys.executable, '-c', 'import time; time.sleep(600)'])
cluster.start()
print(*(task.pid for task in cluster.tasks.values()), flush=True)
time.sleep(600)
'''
STUBBORN = '''
import signal, sys
sys.path.insert(0, {root!r})
from permafrost.cluster import local_cluster
IGNORE = ("import signal, time; signal.signal(signal.SIGUSR1, signal.SIG_IGN); "
          "print('ready', flush=True); ")
start = local_cluster.LocalCluster.__init__
def with_prefix(self, *args, **kwargs):
    start(self, *args, prefix=lambda name: [sys.executable, '-c', IGNORE + 'time.sleep(600)'],
          **kwargs)
local_cluster.LocalCluster.__init__ = with_prefix
sys.exit(local_cluster.run(1, 1, False, []))
'''


def test_tasks_get_their_flags_and_the_cluster_by_tf_config():
    lines, hosts = [], {'ps 0': 'p:1', 'worker 0': 'a:1', 'worker 1': 'b:1'}
    with local_cluster.LocalCluster(
            1, 2, ['--a'], hosts=hosts, on_line=lines.append,
            prefix=lambda name: [sys.executable, '-c', PRINT_TASK]) as cluster:
        cluster.start('worker 1', 'evaluator', extra_arguments=['--b'])
        assert cluster.wait() == {'worker 1': 0, 'evaluator': 0}
    assert cluster.steps('worker 1') == [3, 5] and cluster.steps('ps 0') == []
    assert [line for line in lines if line.startswith('worker 1: ')] == [
        'worker 1: ' + line for line in cluster.lines['worker 1']]
    for name, task in [('worker 1', '"worker", "index": "1"'),
                       ('evaluator', '"evaluator", "index": ""')]:
        assert cluster.lines[name][0].endswith(
            '\'--a\', \'--b\'] {"cluster": {"ps": ["p:1"], "worker": ["a:1", "b:1"]}, '
            f'"task": {{"type": {task}}}}}')


def test_output_that_is_not_utf8_is_escaped():
    with local_cluster.LocalCluster(0, 1, [], prefix=lambda name: [
            sys.executable, '-c', 'import sys; sys.stdout.buffer.write(b"a \\xff\\nb\\n")'
            ]) as cluster:
        cluster.start()
        cluster.wait()
    assert cluster.lines['worker 0'] == ['a \\xff', 'b']


def test_no_process_is_left_behind():
    with local_cluster.LocalCluster(1, 1, [], prefix=lambda name: [
            sys.executable, '-c', 'import time; time.sleep(600)']) as cluster:
        cluster.start()
        assert [task.poll() for task in cluster.tasks.values()] == [None, None]
    assert [task.poll() for task in cluster.tasks.values()] == [-signal.SIGKILL] * 2


def test_a_task_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(local_cluster, 'STOP_SECS', .2)
    with local_cluster.LocalCluster(0, 1, [], prefix=lambda name: [sys.executable, '-c', (
            'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); '
            'print("ready", flush=True); time.sleep(600)')]) as cluster:
        cluster.start()
        helpers.wait_for_line(cluster, 'worker 0', 'ready')
        assert cluster.stop() == {'worker 0': -signal.SIGKILL}


def test_the_chief_is_stopped_first_and_the_servers_last():
    """Else the chief could not save, or a worker would wait for a server that has left."""
    lines = []
    with local_cluster.LocalCluster(1, 2, [], on_line=lines.append, prefix=lambda name: [
            sys.executable, '-c', STOP_TASK]) as cluster:
        cluster.start(*cluster.names, 'evaluator')
        for name in cluster.tasks:
            helpers.wait_for_line(cluster, name, 'ready')
        assert set(cluster.stop().values()) == {3}
    stopped = {line.partition(': ')[0]: float(line.split()[-1]) for line in lines
               if 'stopped' in line}
    assert sorted(stopped, key=stopped.get) == ['worker 0', 'evaluator', 'worker 1', 'ps 0']


def test_flags_are_passed_on_to_the_tasks():
    values = flags.FlagValues()
    flags.DEFINE_integer('workers', 2, '', flag_values=values)
    flags.DEFINE_integer('steps', None, '', flag_values=values)
    flags.DEFINE_multi_string('set', [], '', flag_values=values)
    flags.DEFINE_bool('resume', False, '', flag_values=values)
    values(['tool', '--workers=3', '--steps=5', '--set=a=1', '--set=b=x y', '--resume'])
    assert local_cluster.task_arguments(values, ['workers']) == [
        '--resume', '--set=a=1', '--set=b=x y', '--steps=5']


def test_an_error_of_several_tasks_is_printed_once(capsys):
    printer = local_cluster.Printer()
    for line in ('worker 0: error: no', 'worker 1: error: no', 'worker 1: error: other',
                 'worker 0: step 1', 'worker 1: step 1'):
        printer(line)
    assert capsys.readouterr().out.splitlines() == [
        'worker 0: error: no', 'worker 1: error: other', 'worker 0: step 1', 'worker 1: step 1']


def test_wrong_flags_are_reported_before_any_task_starts():
    result = in_process.run('tools/local_cluster.py', '--model=tutoo')
    assert (result.code, result.stdout) == (2, '')
    assert result.stderr.startswith("error: unknown model 'tutoo'; did you mean tuto?")
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('arguments, message', [
    (['--batch_size=127', '--mode=sync'], 'by 2 workers: use --batch_size=126 or 128'),
    (['--init_from=nowhere/x.pb'], "no run, graph or model named 'nowhere/x.pb'")])
def test_what_no_task_could_do_is_refused_before_any_starts(synthetic, arguments, message):
    result = in_process.run('tools/local_cluster.py', '--model=lenet5', '--dataset=synthetic',
                            f'--data_dir={synthetic.directory}', *arguments)
    assert result.code and result.stdout == '' and message in result.stderr, result
    assert result.stderr.count('\n') == 1


@pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux')
def test_the_tasks_end_with_a_tool_that_is_killed():
    parent = subprocess.Popen([sys.executable, '-c', PARENT.format(root=processes.ROOT)],
                              stdout=subprocess.PIPE, universal_newlines=True)
    with parent:
        tasks = list(map(int, parent.stdout.readline().split()))
        parent.kill()
    assert len(tasks) == 2
    for _ in range(600):
        if not any(map(is_alive, tasks)):
            return
        time.sleep(.05)
    pytest.fail('a task outlived its parent')


@pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux')
def test_a_second_signal_ends_the_tasks_at_once():
    tool = subprocess.Popen([sys.executable, '-c', STUBBORN.format(root=processes.ROOT)],
                            stdout=subprocess.PIPE, universal_newlines=True)
    with tool:
        for _ in range(2):  # else the line of the second task may follow the signal
            assert 'ready' in tool.stdout.readline()
        tool.send_signal(signal.SIGINT)
        assert 'again to end at once' in tool.stdout.readline()
        tool.send_signal(signal.SIGHUP)  # a closed terminal sends several
        time.sleep(1)
        assert tool.poll() is None
        tool.send_signal(signal.SIGINT)
        assert tool.wait(30) != 0


def test_a_task_that_fails_is_named(monkeypatch, capsys):
    start = local_cluster.LocalCluster.__init__

    def with_prefix(self, *args, **kwargs):
        start(self, *args, prefix=lambda name: [sys.executable, '-c', (
            'import os, signal, time; os.kill(os.getpid(), signal.SIGKILL)' if name == 'worker 1'
            else 'import time; time.sleep(600)')], **kwargs)

    monkeypatch.setattr(local_cluster.LocalCluster, '__init__', with_prefix)
    assert local_cluster.run(1, 2, False, []) == 1
    assert 'worker 1 was killed by signal 9: ending the others\n' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(engines.installed() != 'tf2', reason='slow: one engine is enough')
def test_the_tool_merges_logs_and_stops_all_tasks(synthetic, tmp_path):
    arguments = processes.command(
        'tools/local_cluster.py', '--evaluator', f'--data_dir={synthetic.directory}',
        f'--run={tmp_path}', '--save_steps=100', '--resume', *helpers.FLAGS)
    code, output = processes.interrupt(arguments + ['--steps=100000'], '^worker 1: step',
                                       signal.SIGINT)
    assert code == 130 and 'Traceback' not in output, output
    step = finding.last_step(str(tmp_path))
    assert f'worker 0: stopped at step {step}' in output
    next_line = next(line for line in output.splitlines() if line.startswith('worker 0: next: '))
    assert next_line.endswith(f'tools/local_cluster.py --ps=1 --workers=2 --evaluator --run '
                              f'{tmp_path} --resume')
    output = processes.finish(arguments + [f'--steps={step + 5}'])
    last = finding.last_step(str(tmp_path))
    for line in (f'worker 0: done at step {last}', 'worker 1: done', 'ps 0: done',
                 f'evaluator: step {last}: '):
        assert line in output


@pytest.mark.slow
@pytest.mark.skipif(engines.installed() != 'tf2', reason='slow: one engine is enough')
def test_random_kills_lose_nothing_that_was_saved():
    """Kill tasks for a quarter of a minute; see the script."""
    output = processes.finish(processes.command(
        'tools/dev/soak.py', '--minutes=0.25', '--least=6', '--most=8'),
        timeout=580)
    assert re.search('^[2-9] kills; the run reached its last step', output, re.M), output
    assert 'is skipped' not in output  # a save is whole, and has the name of its step
