"""Run the commands of the README's table of results, and print it; logs go to results/accuracy.

    python benchmarks/accuracy.py                   letters, seeds 1 2 3: about ten minutes
    python benchmarks/accuracy.py --data letters data/notmnist_small.npz mnist
    python benchmarks/accuracy.py --only sgd relu

A log that is already there is used again, unless --again is given.
"""
import numpy as np

import runs

BEST = ('deep_nn.py --layers 5 --batch-norm --dropout 0.6 --optimizer nesterov --lr 0.1 '
        '--schedule one-cycle --label-smoothing --augment')
COMMANDS = [  # (name of the log, command, accuracy printed in the notes)
    ('linear', 'full_connect.py', 83.2),
    ('linear_small_init', 'full_connect.py --stddev 0.1', None),
    ('sgd', 'sgd.py', 86.5),
    ('sgd_small_init', 'sgd.py --stddev 0.1', None),
    ('relu', 'relu_nn.py', 88.8),
    ('relu_small_init', 'relu_nn.py --stddev 0.1', None),
    ('relu_tuned', 'relu_nn.py --stddev 0.1 --lr 0.2', None),
    ('l2_0.001', 'nn_overfit.py --offset-range 0 --l2 0.001', 92.7),
    ('l2_0.002', 'nn_overfit.py --offset-range 0 --l2 0.002', 93.5),
    ('overfit', 'nn_overfit.py', 85.4),
    ('dropout', 'nn_overfit.py --dropout', 88.0),
    ('decay', 'nn_overfit.py --offset-range 0 --decay', 90.6),
    ('deep', 'deep_nn.py --layers 6 --dropout --l2 0.001', 95.2),
    ('best', BEST + ' --steps 16001', 97.5),
    ('best_short', BEST + ' --steps 8001', None),
]


def run(name, command, data, seed, again):
    """Run one command, or read its log; returns test accuracy (%) and seconds."""
    text = runs.log('%s --data %s --seed %d' % (command, data, seed),
                    'accuracy/' + runs.stem(data), '%s.seed%d' % (name, seed), again)
    return runs.test_accuracy(text), runs.seconds(text)


def main():
    parser = runs.parser(__doc__)
    parser.add_argument('--data', nargs='+', default=['letters'],
                        help='as in every lesson; a column each')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3], help='two or more')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='of the first column of COMMANDS')
    flags = parser.parse_args()
    names = [runs.stem(data) for data in flags.data]
    print('| command | notes | %s | time |' % ' | '.join(names))
    print('|---|---|%s---|' % ('---|' * len(names)))
    for name, command, notes in COMMANDS:
        if flags.only and name not in flags.only:
            continue
        # [data sets, seeds, 2]: test accuracy in percent, seconds
        results = np.array([[run(name, command, data, seed, flags.again) for seed in flags.seeds]
                            for data in flags.data])
        cells = ['%.1f ± %.1f' % (accuracy.mean(), accuracy.std(ddof=1))
                 for accuracy in results[:, :, 0]]
        print('| `%s` | %s | %s | %.0f s |' % (  # the fastest run: the others may have had company
            command, notes or '', ' | '.join(cells), results[0, :, 1].min()), flush=True)


if __name__ == '__main__':
    main()
