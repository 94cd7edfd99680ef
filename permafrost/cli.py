"""What every script does around its one call: flags, one-line errors, exit codes, signals."""

import functools
import signal
import sys

from absl import app
from absl import flags

from permafrost.config import UserError


def _parse(arguments, argv):
    """Flags of `argv`, or exit 2 with one line that names the wrong flag."""
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1 + arguments:
            raise flags.Error('unexpected argument %r (flags begin with --)' % rest[1 + arguments])
    except flags.Error as error:
        message = ' '.join(str(error).split()).replace('flag --', '--')
        sys.exit(_say(message + ' (%s --help lists the flags)' % argv[0], 2))
    return rest


def _say(message, code):
    print('error: ' + message, file=sys.stderr, flush=True)
    return code


def _terminated(signum, frame):
    # Until a loop that can save replaces this handler there is nothing to save.
    raise SystemExit(128 + signum)


def run(main, arguments=0):
    """Parses the flags, calls `main()` and exits with the code that it returns (None: 0).

    What is no flag, `arguments` of them at most, is given to `main`.

    A UserError is one line on stderr and its exit code: 1 failed, 2 usage. SIGTERM gives 143,
    SIGINT 130.
    """
    def guarded(argv):
        signal.signal(signal.SIGTERM, _terminated)
        signal.signal(signal.SIGINT, _terminated)
        try:
            return main(*argv[1:])
        except UserError as error:
            return _say(str(error), error.exit_code)
        except OSError as error:
            if error.strerror is None:
                raise
            return _say('%s: %s' % (error.filename or 'system', error.strerror), 1)

    app.run(guarded, flags_parser=functools.partial(_parse, arguments))
