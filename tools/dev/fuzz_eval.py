"""Evaluate many graphs as eval.py --graph does: tools/dev/fuzz_eval.py FOLDER/*.pb.

Each runs in a process of its own, but TensorFlow is imported once. Prints a line for each graph:
seconds, peak memory in MB, exit code or -signal, its last line.
"""

import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from permafrost.cli import interpreter

interpreter.check()

from permafrost import engines
from permafrost.datasets.synthetic import make_synthetic
from permafrost.entry_point import run_script
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.reading import isolation


def main(*paths):
    session_config = engines.prepare()
    from permafrost.evaluation import evaluate  # imports TensorFlow, after its threads are set
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_synthetic(folder, train=2, test=2)
        for path in paths:
            start, log = time.time(), tempfile.TemporaryFile()
            child = os.fork()
            if child == 0:
                for number in (1, 2):
                    os.dup2(log.fileno(), number)
                isolation.set_limits()
                try:
                    evaluate.evaluate_frozen_graph(path, session_config, dataset='synthetic',
                                                   data_dir=dataset.directory)
                except UserError as error:
                    print('error:', error, flush=True)
                    os._exit(1)
                except BaseException as error:  # a stack trace in eval.py
                    print('Traceback:', type(error).__name__, error, flush=True)
                    os._exit(1)
                sys.stdout.flush()
                os._exit(0)
            _, status, usage = os.wait4(child, 0)
            log.seek(0)
            lines = log.read().decode('utf-8', 'replace').strip().splitlines() or ['']
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            print(path, f'{time.time() - start:.2f}', usage.ru_maxrss * 1024 // 10**6, code,
                  lines[-1], sep='\t', flush=True)


if __name__ == '__main__':
    run_script(main, max_arguments=10**6)
