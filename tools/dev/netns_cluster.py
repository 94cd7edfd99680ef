"""Cut a link in a cluster of three hosts: tools/dev/netns_cluster.py --run runs/cut, as root.

The hosts are network namespaces, joined by veth pairs and a bridge in a fourth one: the server's
(the evaluator runs there too), the chief's and worker 1's. The link of worker 1 goes down for
--cut_secs; training must continue and end well.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.cluster import local_cluster
from permafrost.entry_point import run_script
from permafrost.errors import UsageError, UserError
from permafrost.flags import define_train_flags, define_training_cluster_flags
from permafrost.training.checkpoints import finding

flags.DEFINE_integer('at', 300, 'Step at which the link is cut.', 1)
flags.DEFINE_float('cut_secs', 20., 'How long the link is down, in seconds.', 0.)
define_train_flags()
define_training_cluster_flags()
FLAGS = flags.FLAGS
HOSTS = {'ps 0': 1, 'evaluator': 1, 'worker 0': 2, 'worker 1': 3}  # {task: host}
SWITCH = 'permafrost-switch'
SPACES = [SWITCH, 'permafrost-1', 'permafrost-2', 'permafrost-3']


def _ip(command: str) -> None:
    subprocess.run(['ip', *command.split()], check=True)


def connect() -> None:
    """Create the hosts and their links."""
    for space in SPACES:
        _ip(f'netns add {space}')
    _ip(f'-n {SWITCH} link add bridge type bridge')
    _ip(f'-n {SWITCH} link set bridge up')
    for host, space in enumerate(SPACES[1:], 1):
        _ip(f'link add port{host} netns {SWITCH} type veth peer name eth0 netns {space}')
        _ip(f'-n {SWITCH} link set port{host} master bridge up')
        _ip(f'-n {space} addr add 10.77.0.{host}/24 dev eth0')
        _ip(f'-n {space} link set eth0 up')
        _ip(f'-n {space} link set lo up')


def wait_for_step(cluster: local_cluster.LocalCluster, step: int) -> None:
    """Wait until worker 1 has logged `step` or a later one."""
    while max(cluster.steps('worker 1'), default=0) < step:
        if cluster.tasks['worker 0'].poll() is not None:
            raise UserError(f'the run ended before worker 1 reached step {step}')
        time.sleep(.2)


def cut_link(cluster: local_cluster.LocalCluster) -> None:
    """Take the link of worker 1 down for --cut_secs; return when it trains again."""
    wait_for_step(cluster, FLAGS.at)
    step = cluster.steps('worker 1')[-1]
    print(f'worker 1: link down for {FLAGS.cut_secs:g} s', flush=True)
    _ip(f'-n {SWITCH} link set port3 down')
    time.sleep(FLAGS.cut_secs)
    _ip(f'-n {SWITCH} link set port3 up')
    print(f"worker 1: link up; the chief is at step {cluster.steps('worker 0')[-1]}", flush=True)
    wait_for_step(cluster, step + FLAGS.log_steps + 1)


def main():
    if os.geteuid():
        raise UserError('network namespaces need root: run it with sudo')
    if not FLAGS.run or not FLAGS.steps:
        raise UsageError('give --run and --steps')
    try:
        connect()
        with local_cluster.LocalCluster(
                1, 2, local_cluster.task_arguments(FLAGS, ('at', 'cut_secs')),
                hosts={name: f'10.77.0.{host}:2222' for name, host in HOSTS.items()},
                on_line=local_cluster.Printer(),
                prefix=lambda name: ['ip', 'netns', 'exec', SPACES[HOSTS[name]]]) as cluster:
            cluster.start(*HOSTS)
            cut_link(cluster)
            codes = cluster.wait()
    finally:
        for space in SPACES:
            subprocess.run(['ip', 'netns', 'delete', space])
    step = finding.last_step(FLAGS.run)
    evaluated = any(line.startswith(f'step {step}: ') for line in cluster.lines['evaluator'])
    if any(codes.values()) or step < FLAGS.steps or not evaluated:
        raise UserError(f'ended with {codes} at step {step}, evaluated: {evaluated}')
    print(f'all tasks ended well, at step {step}; it was evaluated', flush=True)


if __name__ == '__main__':
    run_script(main)
