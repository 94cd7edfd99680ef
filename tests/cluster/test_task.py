"""Tasks of a cluster: what each one runs, how they end together, and what they survive."""

import dataclasses
import os
import shlex
import shutil
import signal
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost import engines, runs
from permafrost.cluster import cluster_spec, task
from permafrost.errors import UsageError, UserError
from permafrost.training.checkpoints import finding, saving
from tests import in_process, networks, processes
from tests.cluster import helpers


@pytest.fixture(scope='module')
def trained(synthetic, tmp_path_factory):
    """The cluster and the run directory of a training of 1,500 steps by two workers.

    They train behind a proxy that does not exist. The run directory is relative, and the server
    and worker 1 have another working directory than the chief: they cannot see the run.
    """
    chief, elsewhere = (tmp_path_factory.mktemp(name) for name in ('chief', 'elsewhere'))
    proxies = [f'{name}=http://127.0.0.1:9' for name in ('http_proxy', 'https_proxy', 'grpc_proxy')]

    def prefix(name):
        folder = chief if name in ('worker 0', 'evaluator') else elsewhere
        return ['env', f'--chdir={folder}', *proxies]

    with helpers.make_cluster(synthetic, 'run', '--steps=1500', '--save_steps=500',
                              prefix=prefix) as cluster:
        cluster.start('ps 0', 'worker 1', 'worker 0', 'evaluator')
        helpers.assert_ends_well(cluster)
        yield cluster, str(chief / 'run')


def test_all_tasks_end_and_all_workers_steps_count(trained):
    cluster, run = trained
    step, checkpoint = finding.find_checkpoint(run)
    assert 1500 <= step <= 1501  # past the last step by less than the number of workers
    assert tf.train.load_checkpoint(checkpoint).get_tensor('global_step') == step
    assert runs.read_status(run)['state'] == 'done'
    for name in ('worker 0', 'worker 1'):
        assert cluster.steps(name)
    assert 'done' in cluster.lines['ps 0'] and 'done' in cluster.lines['worker 1']


def test_each_task_prints_its_place_and_the_risk_of_its_port(trained):
    cluster, _ = trained
    for name, address in cluster.hosts.items():
        output = '\n'.join(cluster.lines[name])
        assert f"listening on port {address.split(':')[1]} of every interface" in output
        assert 'without password' in output
        assert 'proxy: grpc_proxy, http_proxy, https_proxy is set, but not used for' in output
        assert 'cluster: 1 ps, 2 workers (from TF_CONFIG); this is ' + name in output


def test_the_run_remembers_its_hosts(trained):
    cluster, run = trained
    context = cluster_spec.resolve_cluster([], [], 'worker', 1, {}, run)
    assert context.spec.tasks() == cluster.hosts


def test_the_evaluator_evaluates_to_the_end(trained):
    cluster, run = trained
    assert f'step {finding.last_step(run)}: ' in '\n'.join(cluster.lines['evaluator'])
    assert 'this is evaluator (from TF_CONFIG)' in cluster.lines['evaluator'][0]


@pytest.mark.slow
def test_a_run_is_continued_with_a_server_that_cannot_see_it(trained, synthetic, tmp_path):
    run = shutil.copytree(trained[1], str(tmp_path / 'chief' / 'run'))
    before = finding.last_step(run)
    folder, name = os.path.split(run)

    def prefix(task_name):
        elsewhere = os.path.dirname(folder)
        return ['env', f"--chdir={folder if task_name == 'worker 0' else elsewhere}"]

    with helpers.make_cluster(synthetic, name, '--resume', f'--steps={before + 6}',
                              prefix=prefix) as cluster:
        cluster.start()
        helpers.assert_ends_well(cluster)
        assert f'restored step {before}' in cluster.lines['worker 0']
        assert min(cluster.steps('worker 0') + cluster.steps('worker 1')) == before + 1
    assert finding.last_step(run) - before in (6, 7)


@pytest.mark.slow
def test_killed_tasks_come_back_and_lose_nothing_that_was_saved(synthetic, tmp_path):
    """A worker, the server and the chief are killed in turn, and started again."""
    run = str(tmp_path)
    with helpers.make_cluster(synthetic, run, '--steps=100000', '--save_steps=50',
                              '--resume') as cluster:
        def kill(name):
            cluster.send(signal.SIGKILL, name)
            cluster.wait(name)
            return {name: len(lines) for name, lines in cluster.lines.items()}

        cluster.start()
        for name in ('worker 0', 'worker 1'):  # the chief saves first: it may be the later one
            helpers.wait_for_line(cluster, name, '^step')
        num_lines = kill('worker 1')
        # The chief goes on without it.
        helpers.wait_for_line(cluster, 'worker 0', '^step', num_lines['worker 0'] + 20)
        cluster.start('worker 1')
        helpers.wait_for_line(cluster, 'worker 1', '^first step', num_lines['worker 1'])

        saved = finding.last_step(run)
        num_lines = kill('ps 0')
        cluster.start('ps 0')
        restored = helpers.wait_for_line(cluster, 'worker 0', '^restored step',
                                         num_lines['worker 0'])
        assert int(restored.split()[-1]) >= saved
        num_lines = {name: len(lines) for name, lines in cluster.lines.items()}
        for name in ('worker 0', 'worker 1'):
            helpers.wait_for_line(cluster, name, '^step', num_lines[name])

        saved = finding.last_step(run)
        num_lines = kill('worker 0')
        cluster.start('worker 0')
        line = helpers.wait_for_line(cluster, 'worker 0', '^parameter servers already hold step',
                                     num_lines['worker 0'])
        assert int(line.split()[5]) >= saved
        helpers.wait_for_line(cluster, 'worker 0', '^first step', num_lines['worker 0'])

        # After a signal all is saved, and the same commands continue the run.
        codes = cluster.stop(signal.SIGINT)
        assert set(codes.values()) == {130}, f'{codes}\n{helpers.output(cluster)}'
        step = finding.last_step(run)
        assert f'stopped at step {step}' in helpers.output(cluster)
        assert runs.read_status(run)['state'] == 'stopped'
        cluster.start(extra_arguments=[f'--steps={step + 10}'])
        helpers.assert_ends_well(cluster)
    assert 10 <= finding.last_step(run) - step <= 11


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_workers_are_not_done_before_the_chief_has_saved(synthetic, tmp_path, mode):
    """The chief is stopped, and started again by its command; then it is killed for good."""
    steps = 10 ** 6 if mode == 'sync' else 1000  # async: the other worker makes them
    wait_secs = 40 if mode == 'sync' else 150
    with helpers.make_cluster(synthetic, tmp_path, f'--mode={mode}', f'--steps={steps}', '--resume',
                              f'--wait_secs={wait_secs}') as cluster:
        cluster.start()
        helpers.wait_for_line(cluster, 'worker 0', '^step')
        cluster.send(signal.SIGTERM, 'worker 0')
        assert cluster.wait('worker 0') == {'worker 0': 143}, helpers.output(cluster)
        num_lines = len(cluster.lines['worker 1'])
        cluster.start('worker 0')
        if mode == 'async':
            helpers.assert_ends_well(cluster)
            return
        helpers.wait_for_line(cluster, 'worker 1', '^step', num_lines)
        cluster.send(signal.SIGKILL, 'worker 0')
        codes = cluster.wait(timeout=helpers.TIMEOUT)
        assert codes == {'worker 0': -signal.SIGKILL, 'worker 1': 1, 'ps 0': 1}
        assert cluster.lines['worker 1'][-1].startswith('error: no training step for '), (
            helpers.output(cluster))


@pytest.mark.slow
def test_a_worker_that_cannot_train_ends_with_one_line(synthetic, tmp_path):
    """Its flags differ from the chief's; later its server is missing."""
    with helpers.make_cluster(synthetic, tmp_path, '--steps=100000') as cluster:
        cluster.start('ps 0', 'worker 0')
        cluster.start('worker 1', extra_arguments=['--seed=2'])
        assert cluster.wait('worker 1', timeout=helpers.TIMEOUT) == {'worker 1': 1}
        assert cluster.lines['worker 1'][-1].endswith(
            'the chief, has different settings (seed: 2 here, 1 on the chief): start all tasks '
            'with the same flags')
        cluster.send(signal.SIGKILL)
        cluster.wait()
        cluster.start('worker 1', extra_arguments=['--wait_secs=1'])
        assert cluster.wait('worker 1', timeout=helpers.TIMEOUT) == {'worker 1': 1}
        # Nothing of TensorFlow's own follows.
        assert cluster.lines['worker 1'][-1].startswith(
            f"error: no answer from ps 0 ({cluster.hosts['ps 0']}) for ")


@pytest.mark.slow
def test_a_task_of_another_engine_is_refused(synthetic, tmp_path):
    """The server runs the other engine, if that is installed."""
    own = 'tf2' if engines.installed() == 'tf2' else 'tf1'
    other = 'tf1' if own == 'tf2' else 'tf2'
    python = os.path.join(processes.ROOT, '.venv', other, 'bin', 'python')
    if not os.path.exists(python):
        pytest.skip(f'{other} is not installed')

    def prefix(name):  # the command line begins with this test's own Python
        command = f'shift; exec {shlex.quote(python)} "$@"'
        return ['sh', '-c', command, 'sh'] if name == 'ps 0' else []

    with helpers.make_cluster(synthetic, tmp_path, '--steps=100', prefix=prefix) as cluster:
        cluster.start('ps 0', 'worker 1')
        assert cluster.wait('worker 1', timeout=helpers.TIMEOUT) == {'worker 1': 1}
        line = cluster.lines['worker 1'][-1]
        assert line.startswith(f'error: this task runs {own}') and f'runs {other}' in line, (
            helpers.output(cluster))


def test_one_machine_in_tf_config_trains_alone(synthetic, tmp_path, monkeypatch):
    monkeypatch.setenv('TF_CONFIG', '{"task": {"type": "master", "index": 0}}')
    result = in_process.run('train_cluster.py', f'--data_dir={synthetic.directory}',
                            f'--run={tmp_path}', '--steps=2', *helpers.FLAGS)
    assert result.code == 0, result.stderr
    assert 'done at step 2' in result.stdout and 'listening' not in result.stdout


def test_a_task_that_is_started_after_the_end_has_nothing_to_do(synthetic, tmp_path):
    """Its servers have ended. A run that is not done is an error."""
    def run_chief(*flags):
        spec = helpers.free_spec(1, 1)
        return in_process.run(
            'train_cluster.py', '--job_name=chief', f'--ps_hosts={spec.ps[0]}', '--resume',
            f'--worker_hosts={spec.workers[0]}', f'--run={tmp_path}', '--wait_secs=1', *flags)

    networks.train(synthetic, tmp_path, 2, 'convone')
    result = run_chief()
    assert result.code == 0, result.stderr
    assert result.stdout.endswith(f'nothing to do: {tmp_path} is at step 2, and its servers have '
                                  'ended\n')
    result = run_chief('--steps=3')
    assert result.code == 1 and result.stderr.startswith('error: no answer from ps 0 (')

    spec = helpers.free_spec(1, 2)
    result = in_process.run(
        'train_cluster.py', '--job_name=worker', '--task_index=1', f'--ps_hosts={spec.ps[0]}',
        f'--worker_hosts={",".join(spec.workers)}', f'--run={tmp_path}', '--resume',
        '--wait_secs=1')
    assert result.code == 0 and 'nothing to do: ' in result.stdout, result.stderr

    # As if it had been stopped early.
    config, extra = runs.read_config(str(tmp_path))
    runs.write_config(str(tmp_path), dataclasses.replace(
        config, steps=9, validation=100, patience=2, eval_epochs=1.), extra)
    result = run_chief()
    assert result.code == 0 and f'nothing to do: {tmp_path} is at step 2, ' in result.stdout
    assert run_chief('--patience=0').code == 1


@pytest.fixture
def prepared(synthetic, monkeypatch):
    """prepared(job, *flags): what worker 0 or 1 prints before TensorFlow is imported."""
    def ready(config):
        raise UserError('ready')

    def run(job, *flags):
        spec = helpers.free_spec(1, 2)
        return in_process.run(
            'train_cluster.py', f'--ps_hosts={spec.ps[0]}', f"--job_name={job}",
            f"--worker_hosts={','.join(spec.workers)}", f"--task_index={int(job == 'worker')}",
            '--dataset=synthetic', f'--data_dir={synthetic.directory}', *flags).stderr
    monkeypatch.setattr(engines, 'prepare', ready)
    return run


def test_a_public_address_is_refused():
    result = in_process.run('train_cluster.py', '--ps_hosts=8.8.8.8:2222',
                            '--worker_hosts=127.0.0.1:1', '--job_name=ps')
    assert result.code == 2
    assert 'error: 8.8.8.8:2222 is public' in result.stderr and '--allow_public' in result.stderr


class Flags(SimpleNamespace):
    """Values of flags, of which --model was given."""

    def __getitem__(self, name):
        return SimpleNamespace(present=name == 'model')


def _evaluator_flags(**fields):
    return Flags(**dict({
        'run': None, 'resume': False, 'model': 'tuto', 'log_dir': 'runs', 'steps': None,
        'deterministic': False, 'intra_op_threads': 0, 'inter_op_threads': 0}, **fields))


@pytest.mark.parametrize('state', ['done', 'stopped', 'failed'])
def test_the_evaluator_evaluates_the_run_of_the_chief(tmp_path, state):
    (tmp_path / 'config.json').touch()
    calls = []

    def evaluate(*arguments):
        calls.append(arguments)
        runs.write_status(str(tmp_path), state=state, step=7)

    flags = cluster_spec.TaskOptions('async', 0, 60.), _evaluator_flags(run=str(tmp_path))
    if state == 'done':
        task.evaluate_run(*flags, evaluate)
    else:  # with another exit code: its checkpoints to come are not evaluated
        with pytest.raises(UserError, match=f'{tmp_path} ended at step 7, before its last'):
            task.evaluate_run(*flags, evaluate)
    (run, _, restart_timeout), = calls
    assert run == str(tmp_path) and 0 < restart_timeout <= 60


def test_the_evaluator_needs_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'config.json').write_text('{}')  # of something else, in the current directory
    options = cluster_spec.TaskOptions('async', 0, -1.)
    with pytest.raises(UsageError, match='the evaluator needs the --run of the chief'):
        task.evaluate_run(options, _evaluator_flags(), None)
    with pytest.raises(UserError, match=f'no run in {tmp_path}/run after'):
        task.evaluate_run(options, _evaluator_flags(run=f'{tmp_path}/run'), None)
    with pytest.raises(UserError, match=f'no run in {tmp_path}/tuto after'):
        task.evaluate_run(options, _evaluator_flags(resume=True, log_dir=str(tmp_path)), None)


def test_the_evaluator_waits_for_a_run_to_be_continued(synthetic, tmp_path, default_graph):
    (tmp_path / 'train').mkdir()
    run = str(tmp_path)
    step = tf.train.get_or_create_global_step()
    with tf.Session() as session:
        session.run(step.initializer)
        session.run(step.assign(30, read_value=False))
        saving.save(tf.train.Saver(), session, run, 30)
    runs.write_config(run, networks.train_setup(synthetic, run, 40, 'tuto').config,
                      {'classes': ['a']})
    assert task.will_be_continued(run, 31)
    runs.write_status(run, state='done')  # --patience has ended it
    assert not task.will_be_continued(run, 40) and task.will_be_continued(run, 41)
    runs.write_status(run, state='stopped')
    assert not task.will_be_continued(run, 30) and not task.will_be_continued(run, None)
    with runs.lock(run):
        assert not task.will_be_continued(run, 31)  # it has been


def test_a_parameter_server_leaves_the_gpu_to_workers(monkeypatch):
    def prepare(values):
        raise UserError('GPUs: ' + os.environ['CUDA_VISIBLE_DEVICES'])

    monkeypatch.setattr(engines, 'prepare', prepare)
    spec = helpers.free_spec(1, 1)
    result = in_process.run(
        'train_cluster.py', f'--ps_hosts={spec.ps[0]}', f'--worker_hosts={spec.workers[0]}',
        '--job_name=ps', '--task_index=0')
    assert 'GPUs: -1' in result.stderr


def test_backup_workers_need_sync_mode():
    spec = helpers.free_spec(1, 1)
    flags = [f'--ps_hosts={spec.ps[0]}', f'--worker_hosts={spec.workers[0]}', '--job_name=worker',
             '--task_index=0', '--backup_workers=1']
    result = in_process.run('train_cluster.py', *flags)
    assert (result.code, result.stderr) == (2, 'error: --backup_workers needs --mode=sync\n')


def test_a_worker_looks_for_its_teacher_first_and_the_chief_for_its_weights(prepared):
    assert 'no run, graph or model named' in prepared('chief', '--init_from=nope')
    assert 'no run, graph or model named' in prepared('worker', '--teacher=nope')
    assert prepared('worker', '--init_from=nope') == 'error: ready\n'


@pytest.mark.parametrize('flags, expected', [
    ([], ('sync', 1)), (['--mode=async'], ('async', 0)), (['--backup_workers=0'], ('sync', 0))])
def test_a_resumed_cluster_has_the_mode_and_the_backup_workers_of_its_run(
        tmp_path, monkeypatch, flags, expected):
    """Backup workers are those of the sync mode: a run that is continued async has none."""
    found = []
    monkeypatch.setattr(task, 'train', lambda context, options, *unused: found.append(options) or 0)
    spec = helpers.free_spec(1, 2)
    (tmp_path / 'config.json').write_text('{}')
    cluster_spec.save_cluster_json(str(tmp_path), spec, 'sync', 1, 1)
    result = in_process.run(
        'train_cluster.py', f'--ps_hosts={spec.ps[0]}', f"--worker_hosts={','.join(spec.workers)}",
        '--job_name=worker', '--task_index=0', f'--run={tmp_path}', '--resume', *flags)
    assert result.code == 0, result.stderr
    assert [(options.mode, options.backup_workers) for options in found] == [expected]
