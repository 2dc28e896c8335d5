"""How long until the validation accuracy passes what the notes' six-layer recipe ends with?

    python benchmarks/time_to_accuracy.py           letters, seeds 1 2 3: a quarter of an hour

A ladder of commands, each a rung above the one before it, run in turn, seed by seed, so that all
meet the same machine; logs go to results/time_to_accuracy. Times are those in the log: from the
start of the run, its graph to be built and evaluations included, to the first report that passes.
"""
import re

import numpy as np

import runs

RECIPE = '--layers 6 --dropout --l2 0.001 --report-every 1000'
FASTER = '--optimizer nesterov --lr 0.1 --schedule one-cycle --steps 2001 --report-every 250'
LADDER = [  # what it adds, flags of deep_nn.py
    ('the recipe', RECIPE),
    ('Nesterov, one-cycle, 2,001 steps', '--layers 6 --dropout --l2 0.001 ' + FASTER),
    ('three layers from 512 units, nothing dropped', '--layers 3 --hidden 512 ' + FASTER),
    ('augmentation', '--layers 3 --hidden 512 --augment ' + FASTER),
    ('label smoothing', '--layers 3 --hidden 512 --augment --label-smoothing ' + FASTER),
]
STEP = re.compile(r'^step +(\d+)/.* validation accuracy +([\d.]+)%.* ([\d.]+)s$', re.M)


def passes(text, target):
    """Steps and seconds until the validation accuracy (%) is target or more; NaN if never."""
    for step, validation, seconds in STEP.findall(text):
        if float(validation) >= target:
            return int(step), float(seconds)
    return float('nan'), float('nan')


def main():
    parser = runs.parser(__doc__)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3], help='two or more')
    flags = parser.parse_args()
    table = np.zeros([len(LADDER), len(flags.seeds), 4])  # steps, seconds, share, test accuracy
    for column, seed in enumerate(flags.seeds):
        for row, (_, command) in enumerate(LADDER):
            text = runs.log('deep_nn.py %s --seed %d' % (command, seed), 'time_to_accuracy',
                            'rung%d.seed%d' % (row, seed), flags.again)
            if row == 0:
                target, whole = [float(x) for x in STEP.findall(text)[-1][1:]]
            step, seconds = passes(text, target) if row else (20000, whole)
            table[row, column] = step, seconds, seconds / whole, runs.test_accuracy(text)
    print('| `deep_nn.py` and | adds | steps | seconds | of the recipe\'s time | test accuracy |')
    print('|---|---|---|---|---|---|')
    for (adds, command), (steps, seconds, share, test) in zip(LADDER, table.transpose(0, 2, 1)):
        if np.isnan(steps).any():
            never = '%d of %d never' % (np.isnan(steps).sum(), len(steps))
            cells = never, never, never
        else:
            cells = '%.0f' % steps.mean(), '%.0f' % seconds.mean(), '%.3f' % share.mean()
        print('| `%s` | %s | %s | %s | %s | %.1f ± %.1f |' % (
            (command, adds) + cells + (test.mean(), test.std(ddof=1))))


if __name__ == '__main__':
    main()
