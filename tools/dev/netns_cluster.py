"""A cluster on three hosts of their own network: tools/three_hosts.py [plain|cut|kill], as root.

The hosts are network namespaces, joined by veth pairs and a bridge in a fourth: the server's (the
evaluator runs there too), the chief's and that of worker 1. `plain` trains, freezes and labels an
image; `cut` takes worker 1's link down for --cut_secs; `kill` kills worker 1 for good.
"""

import os
import signal
import subprocess
import sys
import time

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))

from permafrost.flags import (
    define_run_flags,
    define_train_flags,
    define_training_cluster_flags,
    explicitly_set,
    run_script)
from permafrost.cluster import local_cluster
from permafrost.errors import UsageError, UserError, unknown_name_error
from permafrost.training import checkpoints

SCRIPT = {'module_name': sys.argv[0]}
NAME = sys.argv.pop(1) if sys.argv[1:] and sys.argv[1][0] != '-' else 'plain'
flags.DEFINE_integer('at', 300, 'Step at which the link is cut, or the worker killed.', 1, **SCRIPT)
flags.DEFINE_float('cut_secs', 20., 'Seconds that the link stays cut.', 0., **SCRIPT)
define_train_flags()
define_run_flags()
define_training_cluster_flags()
FLAGS = flags.FLAGS
HOSTS = {'ps 0': '10.77.0.1', 'evaluator': '10.77.0.1', 'worker 0': '10.77.0.2',
         'worker 1': '10.77.0.3'}
ADDRESSES = sorted(set(HOSTS.values()))
SWITCH = 'permafrost-switch'


def _ip(*arguments):
    subprocess.run(('ip',) + arguments, check=True)


def _space(address):
    return 'permafrost-%s' % address.rsplit('.', 1)[1]


def _port(address):
    """The switch's end of the link to the host of `address`."""
    return 'port%s' % address.rsplit('.', 1)[1]


def connect():
    """Makes the hosts and their links."""
    _ip('netns', 'add', SWITCH)
    _ip('-n', SWITCH, 'link', 'add', 'bridge', 'type', 'bridge')
    _ip('-n', SWITCH, 'link', 'set', 'bridge', 'up')
    for address in ADDRESSES:
        _ip('netns', 'add', _space(address))
        _ip('link', 'add', _port(address), 'netns', SWITCH, 'type', 'veth', 'peer', 'name', 'eth0',
            'netns', _space(address))
        _ip('-n', SWITCH, 'link', 'set', _port(address), 'master', 'bridge', 'up')
        _ip('-n', _space(address), 'addr', 'add', address + '/24', 'dev', 'eth0')
        for device in ('eth0', 'lo'):
            _ip('-n', _space(address), 'link', 'set', device, 'up')


def disconnect():
    """Deletes all that connect makes; what is not there is no matter."""
    for space in [SWITCH] + list(map(_space, ADDRESSES)):
        subprocess.run(['ip', 'netns', 'delete', space], stderr=subprocess.DEVNULL)


def _step(cluster, name):
    """The last global step that a task has logged."""
    return max([int(line.split()[1].split('/')[0]) for line in cluster.lines.get(name, [])
                if line.startswith('step ')], default=0)


def _reach(cluster, name, step):
    while _step(cluster, name) < step:
        if cluster.tasks['worker 0'].poll() is not None:
            raise UserError('the run ended before step %d of %s' % (step, name))
        time.sleep(.2)


def disturb(cluster):
    """What the experiment does in mid-training. Returns the task that is not to end well."""
    if NAME == 'plain':
        return None
    _reach(cluster, 'worker 1', FLAGS.at)
    if NAME == 'kill':
        print('worker 1: SIGKILL', flush=True)
        cluster.send(signal.SIGKILL, 'worker 1')
        return 'worker 1'
    port, before = _port(HOSTS['worker 1']), _step(cluster, 'worker 1')
    print('worker 1: link down for %g s' % FLAGS.cut_secs, flush=True)
    _ip('-n', SWITCH, 'link', 'set', port, 'down')
    time.sleep(FLAGS.cut_secs)
    _ip('-n', SWITCH, 'link', 'set', port, 'up')
    print('worker 1: link up; the chief is at step %d' % _step(cluster, 'worker 0'), flush=True)
    _reach(cluster, 'worker 1', before + FLAGS.log_steps + 1)
    print('worker 1: makes steps again, at %d' % _step(cluster, 'worker 1'), flush=True)
    return None


def main():
    if NAME not in ('plain', 'cut', 'kill'):
        raise unknown_name_error('experiment', NAME, ('plain', 'cut', 'kill'))
    if os.geteuid():
        raise UserError('network namespaces take root: run it with sudo')
    if not FLAGS.run or not FLAGS.steps:
        raise UsageError('give --run and --steps')
    arguments = [argument for name in explicitly_set(FLAGS) if name not in ('at', 'cut_secs')
                 for argument in FLAGS[name].serialize().split('\n')]
    tasks = {name: address + ':2222' for name, address in HOSTS.items() if name != 'evaluator'}
    disconnect()
    try:
        connect()
        with local_cluster.LocalCluster(1, 2, arguments, lambda line: print(line, flush=True), hosts=tasks,
                              within=lambda name: ['ip', 'netns', 'exec', _space(HOSTS[name])]
                              ) as cluster:
            cluster.start('ps 0', 'worker 0', 'worker 1', 'evaluator')
            lost = disturb(cluster)
            codes = cluster.wait()
            check({name: code for name, code in codes.items() if name != lost}, cluster)
    finally:
        disconnect()
    if NAME == 'plain':
        freeze_and_label()


def freeze_and_label():
    """Freezes the run and labels an image of the test set."""
    run = os.path.abspath(FLAGS.run)
    graph, samples = os.path.join(run, FLAGS.model + '.pb'), os.path.join(run, 'samples')
    for command in ([sys.executable, 'freeze_graph.py', '--run=' + run, '--output=' + graph],
                    [sys.executable, 'tools/sample_images.py', '--output=' + samples, '--count=1']):
        subprocess.run(command, cwd=local_cluster.ROOT, check=True)
    images = [os.path.join(samples, name) for name in os.listdir(samples)]
    subprocess.run(['./label_image.sh', graph] + images, cwd=local_cluster.ROOT, check=True)


def check(codes, cluster):
    """Raises UserError where a task failed, or the last step was not saved and evaluated."""
    last = checkpoints.find_checkpoint(FLAGS.run)[0]
    evaluated = any(line.startswith('step %d: ' % last) for line in cluster.lines['evaluator'])
    if any(codes.values()) or last < FLAGS.steps or not evaluated:
        raise UserError('%s: ended with %s at step %d, evaluated: %s' % (
            NAME, codes, last, evaluated))
    print('%s: all tasks ended well, at step %d; it was evaluated' % (NAME, last), flush=True)


if __name__ == '__main__':
    run_script(main)
