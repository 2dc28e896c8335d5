"""What share of a lesson's run goes into evaluation, --logdir and --plot; prints a table.

    python benchmarks/overheads.py                  about three minutes

Everything is timed within one run of each lesson, at its own report interval, so other work on the
machine slows both parts of a share. The whole is the run after the data are loaded.
"""
import contextlib
import importlib
import io
import sys
import tempfile
import time

import runs

LESSONS = ['full_connect.py', 'sgd.py', 'relu_nn.py', 'nn_overfit.py',
           'deep_nn.py --layers 6 --dropout --l2 0.001 --steps 4001',
           'cnn.py --data letters --steps 2001']


def main():
    parser = runs.parser(__doc__, again=False)
    parser.add_argument('--only', nargs='+', metavar='WORD', help='commands with a WORD')
    flags = parser.parse_args()
    import utils  # before TensorFlow: keeps its start-up chatter off the screen
    import summaries
    spent = dict.fromkeys(('evaluation', '--logdir', '--plot'), 0.0)
    began = [None]

    def timed(what, function, first=False):
        """The function, its time added to spent[what]; first: also that until the next one."""
        def call(*arguments, **options):
            start = began[0] or time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                began[0] = start if first else None
                spent[what] += 0 if first else time.perf_counter() - start
        return call

    utils.accuracy = timed('evaluation', utils.accuracy)
    summaries.feed = timed('--logdir', summaries.feed, first=True)  # then they are computed
    utils.Log.summarize = timed('--logdir', utils.Log.summarize)
    utils.Log.finish = timed('--plot', utils.Log.finish)
    part = utils.Log.part
    utils.Log.part = lambda log, name: (part(log, name), vars(run).update(start=log.start))

    def run(command):
        sys.argv = command
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(sys.stdout):
            importlib.import_module(command[0][:-3]).main()
        return time.time() - run.start

    print('| command | seconds | evaluation | `--logdir` | `--plot` |')
    print('|---|---|---|---|---|')
    for command in LESSONS:
        if flags.only and not any(word in command for word in flags.only):
            continue
        spent.update(dict.fromkeys(spent, 0.0))
        with tempfile.TemporaryDirectory() as folder:
            whole = run(command.split() + ['--logdir', folder, '--plot', folder])
        whole -= spent['--logdir'] + spent['--plot']  # shares of a run without them
        print('| `%s` | %.1f | %s |' % (command, whole, ' | '.join(
            '%.1f%%' % (100 * seconds / whole) for seconds in spent.values())), flush=True)


if __name__ == '__main__':
    main()
